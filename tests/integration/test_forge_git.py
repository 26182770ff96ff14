"""The local forge as git, a browser and a restart see it."""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import github
import pytest

from infra.local.processes import Program, free_port
from tests.grounds.forge_server import REPOSITORY, ROOT, TOKEN, start_forge


@dataclass
class Running:
    """A running forge and a person's checkout of it."""

    folder: Path
    program: Program
    api: str
    git_url: str

    @property
    def repository(self) -> github.Repository.Repository:
        client = github.Github(
            base_url=self.api,
            auth=github.Auth.Token(TOKEN),
            seconds_between_requests=0,
            seconds_between_writes=0,
            retry=None,
        )
        return client.get_repo(REPOSITORY)

    @property
    def port(self) -> int:
        return int(self.api.split(":")[2].split("/")[0])

    def git(self, *arguments: str, check: bool = True) -> str:
        person = [
            "-c",
            "user.name=Ada",
            "-c",
            "user.email=ada@acme.test",
            "-c",
            "core.askPass=true",
        ]
        ended = subprocess.run(
            ["git", *person, *arguments],
            cwd=self.folder / "checkout",
            check=check,
            capture_output=True,
            text=True,
            env={"PATH": "/usr/bin:/bin"},
        )
        return (ended.stdout + ended.stderr).strip()

    def branch(self, name: str, file: str = "a.txt", text: str = "a\n") -> str:
        self.git("checkout", "-q", "-B", name, "origin/main")
        (self.folder / "checkout" / file).write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", f"Change {file}")
        self.git("push", "-q", "--force", self.git_url.replace("//", f"//ada:{TOKEN}@"), name)
        return self.git("rev-parse", "HEAD")

    def post(self, number: int, form: dict[str, str], origin: str | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {"Origin": f"http://127.0.0.1:{self.port}" if origin is None else origin}
        connection.request("POST", f"/{REPOSITORY}/pull/{number}", urlencode(form), headers)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, text

    def page(self, path: str, *, host: str = "127.0.0.1") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", path, headers={"Host": host})
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, text


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Running]:
    program, api, git_url, _ = start_forge(tmp_path / "ratchet.git")
    subprocess.run(["git", "clone", "-q", git_url, str(tmp_path / "checkout")], check=True)
    running = Running(tmp_path, program, api, git_url)
    try:
        yield running
    finally:
        running.program.stop()


def test_anybody_clones_and_only_a_token_pushes(forge: Running) -> None:
    forge.branch("with-token")
    refused = forge.git("push", forge.git_url, "HEAD:refs/heads/without", check=False)
    assert "without" not in [branch.name for branch in forge.repository.get_branches()]
    assert "fatal" in refused or "error" in refused
    wrong = forge.git(
        "push", forge.git_url.replace("//", "//ada:wrong@"), "HEAD:refs/heads/without", check=False
    )
    assert "Authentication failed" in wrong or "fatal" in wrong


def test_a_pull_request_can_be_fetched_and_a_push_cannot_forge_one(forge: Running) -> None:
    head = forge.branch("topic")
    pull = forge.repository.create_pull(base="main", head="topic", title="Topic")
    forge.git("fetch", "-q", "origin", f"pull/{pull.number}/head")
    assert forge.git("rev-parse", "FETCH_HEAD") == head
    denied = forge.git(
        "push",
        forge.git_url.replace("//", f"//ada:{TOKEN}@"),
        "origin/main:refs/pull/1/head",
        check=False,
    )
    assert "hidden ref" in denied


def test_a_merge_made_by_git_is_recognised(forge: Running) -> None:
    forge.branch("topic")
    pull = forge.repository.create_pull(base="main", head="topic", title="Topic")
    forge.git("checkout", "-q", "-B", "main", "origin/main")
    forge.git("merge", "-q", "--no-ff", "-m", "By hand", "topic")
    forge.git("push", "-q", forge.git_url.replace("//", f"//ada:{TOKEN}@"), "main")
    pull.update()
    assert (pull.merged, pull.merge_commit_sha) == (True, forge.git("rev-parse", "main"))
    assert [file.filename for file in pull.get_files()] == ["a.txt"]


def test_deleting_the_branch_closes_the_pull_request_and_keeps_its_head(forge: Running) -> None:
    head = forge.branch("topic")
    pull = forge.repository.create_pull(base="main", head="topic", title="Topic")
    forge.repository.get_git_ref("heads/topic").delete()
    pull.update()
    assert (pull.state, pull.merged, pull.head.sha) == ("closed", False, head)


@pytest.mark.parametrize(("method", "parents"), [("merge", 2), ("squash", 1), ("rebase", 1)])
def test_a_merge_is_a_real_commit_whose_tree_holds_both_sides(
    forge: Running, method: str, parents: int
) -> None:
    forge.branch("topic")
    pull = forge.repository.create_pull(base="main", head="topic", title="Topic")
    forge.branch("elsewhere", "b.txt")
    forge.repository.create_pull(base="main", head="elsewhere", title="Elsewhere").merge()
    landed = pull.merge(merge_method=method).sha
    forge.git("fetch", "-q")
    assert len(forge.git("show", "-s", "--format=%P", landed).split()) == parents
    assert forge.git("ls-tree", "--name-only", landed).split() == ["README.md", "a.txt", "b.txt"]
    assert forge.git("rev-parse", "origin/main") == landed
    assert forge.git("fsck", "--strict") == "" or "dangling" in forge.git("fsck", "--strict")


def test_state_outlives_a_kill(forge: Running) -> None:
    forge.branch("topic")
    pull = forge.repository.create_pull(base="main", head="topic", title="Topic", body="Why")
    pull.create_issue_comment("Said")
    pull.add_to_labels("ratchet/superseded")
    forge.program.process.send_signal(signal.SIGKILL)
    forge.program.stop()
    forge.program, forge.api, forge.git_url, _ = start_forge(forge.folder / "ratchet.git")
    again = forge.repository.get_pull(1)
    assert (again.title, again.body, again.state, [label.name for label in again.labels]) == (
        "Topic",
        "Why",
        "open",
        ["ratchet/superseded"],
    )
    assert [comment.body for comment in again.get_issue_comments()] == ["Said"]


def test_of_many_who_create_one_branch_or_pull_request_one_wins(forge: Running) -> None:
    forge.branch("topic")
    main = forge.repository.get_git_ref("heads/main").object.sha

    def create(kind: str) -> bool:
        try:
            forge.repository.create_git_ref(
                "refs/heads/race", main
            ) if kind == "ref" else forge.repository.create_pull(
                base="main", head="topic", title="Race"
            )
        except github.GithubException as error:
            if error.status != 422:
                raise
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(create, ["ref"] * 6 + ["pull"] * 6)) == [False] * 10 + [True] * 2
        merged = list(pool.map(lambda _: _merges(forge), range(6)))
    assert merged.count(True) == 1


def _merges(forge: Running) -> bool:
    try:
        return bool(forge.repository.get_pull(1).merge().merged)
    except github.GithubException as error:
        if error.status != 405:
            raise
        return False


def test_a_person_comments_closes_reopens_and_merges_by_buttons(forge: Running) -> None:
    head = forge.branch("topic")
    pull = forge.repository.create_pull(
        base="main",
        head="topic",
        title="Topic <b>",
        body="**Why** <script>alert(1)</script>\n\n[x](javascript:alert(1))\n<!-- secret -->",
    )
    status, text = forge.page(f"/{REPOSITORY}/pull/1")
    assert status == 200
    assert "Topic &lt;b&gt;" in text
    assert "<strong>Why</strong>" in text
    for unwanted in ("<script", 'href="javascript', "secret"):
        assert unwanted not in text
    assert forge.post(1, {"act": "close", "body": "Not now"})[0] == 303
    pull.update()
    assert (
        pull.state,
        [(comment.user.login, comment.body) for comment in pull.get_issue_comments()],
    ) == ("closed", [("reviewer", "Not now")])
    assert forge.post(1, {"act": "reopen"})[0] == 303
    assert forge.post(1, {"act": "squash", "sha": "0" * 40})[0] == 409
    assert forge.post(1, {"act": "squash", "sha": head})[0] == 303
    pull.update()
    assert (pull.merged, pull.merged_by.login) == (True, "reviewer")
    for path in (
        f"/{REPOSITORY}/pull/1",
        f"/{REPOSITORY}/pulls",
        f"/{REPOSITORY}/commit/{pull.merge_commit_sha}",
        f"/{REPOSITORY}/blob/main/a.txt",
    ):
        assert forge.page(path)[0] == 200
    assert forge.page(f"/{REPOSITORY}/pull/9")[0] == 404


def test_a_form_of_another_site_does_nothing(forge: Running) -> None:
    forge.branch("topic")
    pull = forge.repository.create_pull(base="main", head="topic", title="Topic")
    for origin in ("http://evil.example", "null", ""):
        assert forge.post(1, {"act": "merge"}, origin)[0] == 403
    assert forge.page(f"/{REPOSITORY}/pulls", host="evil.example")[0] == 400
    pull.update()
    assert pull.state == "open"


def test_it_ends_at_once_when_it_is_told_to(forge: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", forge.port)
    connection.request("GET", f"/{REPOSITORY}/pulls")
    connection.getresponse().read()
    started = time.monotonic()
    forge.program.process.terminate()
    forge.program.process.wait(5)
    connection.close()
    assert time.monotonic() - started < 3


def test_a_taken_port_and_a_missing_token_are_said_in_words(forge: Running, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "infra.local.forge",
        "--repository",
        REPOSITORY,
        "--folder",
        str(tmp_path / "other.git"),
        "--port",
    ]
    taken = subprocess.run(
        [*command, str(forge.port)],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "FORGE_TOKEN": "x"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert taken.returncode == 1
    assert f"Port {forge.port} of 127.0.0.1 cannot be used" in taken.stderr
    unset = subprocess.run(
        [*command, str(free_port())],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert unset.returncode == 1
    assert "FORGE_TOKEN" in unset.stderr


def test_the_log_says_who_pushed_and_merged(forge: Running) -> None:
    pushed = forge.branch("topic")
    pull = forge.repository.create_pull("main", "topic", title="A topic", body="")
    merged = pull.merge().sha
    [log] = forge.folder.rglob("*.log")
    lines = [line.split(" ", 2)[2] for line in log.read_text().splitlines() if "topic" in line]
    assert lines == [
        f"ratchet-bot pushed refs/heads/topic: new to {pushed}",
        f"ratchet-bot merged #1 from topic into main by merge: {merged}",
    ]


def test_a_page_has_an_icon_of_its_own(forge: Running) -> None:
    assert 'rel="icon" href="/favicon.ico"' in forge.page(f"/{REPOSITORY}/pulls")[1]
    status, icon = forge.page("/favicon.ico")
    assert (status, icon[:5]) == (200, "<svg ")
