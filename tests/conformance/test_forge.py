"""What promote relies on of any forge, checked on the fake and on PyGithub with a real server.

It also covers what a bad network does to the real one.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import github
import pytest

from infra.local.forge.pulls import person
from infra.local.forge.repository import ABSENT, Entry, Repository
from infra.local.processes import free_port
from promote.errors import CommitNotFound, ForgeRefused, ForgeUnavailable
from promote.forge.github import GitHubForge
from promote.forge.port import Forge, NewBranch, blob_id
from tests.fakes.forge import FakeForge
from tests.grounds.forge_server import REPOSITORY, TOKEN, start_forge
from tests.grounds.lying_forge import Kind, LyingForge, lying_forge

RELEASE = "gitops/models/flight-delay/production/release.yaml"
FILES = {
    RELEASE: b"version: '7'\n",
    "gitops/models/README.md": b"models\n",
    "README.md": b"# Production\n",
}


class People(Protocol):
    """What people do on a forge, while promote looks at it."""

    forge: Forge

    def push(self, branch: str, files: Mapping[str, bytes | None]) -> str: ...

    def merge(self, number: int, *, squash: bool = False) -> str: ...

    def delete_branch(self, branch: str) -> None: ...

    def make_executable(self, branch: str, path: str) -> str: ...

    def comments(self, number: int) -> list[str]: ...


class FakePeople:
    """They work on the fake."""

    def __init__(self) -> None:
        self.forge = FakeForge(FILES)

    def push(self, branch: str, files: Mapping[str, bytes | None]) -> str:
        return self.forge.push(files, branch=branch)

    def merge(self, number: int, *, squash: bool = False) -> str:
        return self.forge.merge(number, squash=squash)

    def delete_branch(self, branch: str) -> None:
        del self.forge.branches[branch]

    def make_executable(self, branch: str, path: str) -> str:
        return self.forge.make_executable(path, branch=branch)

    def comments(self, number: int) -> list[str]:
        return self.forge.comments.get(number, [])


class RealPeople:
    """They work with git and PyGithub on a real server."""

    def __init__(self, folder: Path, api: str, git_url: str, token: str) -> None:
        self.forge = GitHubForge(
            api, token, REPOSITORY, mirror=folder / "mirror.git", seconds_between_writes=0
        )
        client = github.Github(
            base_url=api,
            auth=github.Auth.Token(token),
            seconds_between_requests=0,
            seconds_between_writes=0,
        )
        self.repository = client.get_repo(REPOSITORY)
        self.checkout = folder / "checkout"
        self._git(
            folder, "clone", "-q", git_url.replace("//", f"//person:{token}@"), str(self.checkout)
        )

    def push(self, branch: str, files: Mapping[str, bytes | None]) -> str:
        self._git(self.checkout, "fetch", "-q")
        self._git(self.checkout, "checkout", "-q", "-B", branch, f"origin/{branch}")
        for path, content in files.items():
            if content is None:
                (self.checkout / path).unlink()
            else:
                (self.checkout / path).write_bytes(content)
        return self._push_all(branch)

    def _push_all(self, branch: str) -> str:
        self._git(self.checkout, "add", "-A")
        self._git(self.checkout, "commit", "-q", "-m", "A person's commit")
        self._git(self.checkout, "push", "-q", "origin", branch)
        self.forge.refresh()
        return self._git(self.checkout, "rev-parse", "HEAD")

    def merge(self, number: int, *, squash: bool = False) -> str:
        method = "squash" if squash else "merge"
        commit = self.repository.get_pull(number).merge(merge_method=method).sha
        self.forge.refresh()
        return commit

    def delete_branch(self, branch: str) -> None:
        self._git(self.checkout, "push", "-q", "origin", "--delete", branch)
        self.forge.refresh()

    def make_executable(self, branch: str, path: str) -> str:
        self._git(self.checkout, "fetch", "-q")
        self._git(self.checkout, "checkout", "-q", "-B", branch, f"origin/{branch}")
        (self.checkout / path).chmod(0o755)
        return self._push_all(branch)

    def comments(self, number: int) -> list[str]:
        return [comment.body for comment in self.repository.get_pull(number).get_issue_comments()]

    def _git(self, where: Path, *arguments: str) -> str:
        person = ["-c", "user.name=Ada", "-c", "user.email=ada@acme.test"]
        return subprocess.run(
            ["git", *person, *arguments], cwd=where, check=True, capture_output=True, text=True
        ).stdout.strip()


@pytest.fixture(params=["fake", "real"])
def people(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[People]:
    if request.param == "fake":
        yield FakePeople()
        return
    program, api, git_url, token = start_forge(tmp_path / "ratchet.git", files=FILES)
    try:
        yield RealPeople(tmp_path, api, git_url, token)
    finally:
        program.stop()


def propose(
    forge: Forge, name: str = "ratchet/flight-delay/production/v8", version: int = 8
) -> NewBranch:
    branch = NewBranch(
        name, forge.head(), {RELEASE: f"version: '{version}'\n".encode()}, f"Release v{version}"
    )
    forge.create_branch(branch)
    return branch


def test_files_and_folders_are_read_at_a_commit(people: People) -> None:
    forge, before = people.forge, people.forge.head()
    after = people.push("main", {RELEASE: b"version: '8'\n", "gitops/models/README.md": None})
    assert (forge.read_file(RELEASE, before), forge.read_file(RELEASE, after)) == (
        b"version: '7'\n",
        b"version: '8'\n",
    )
    assert forge.read_file("none.yaml", before) is None
    assert forge.read_file("gitops/models/README.md", after) is None
    assert forge.list_folder("gitops/models", before) == ("gitops/models/README.md",)
    assert forge.list_folder("gitops/models", after) == ()
    assert forge.list_folder("none", after) == ()
    assert forge.head() == after


def test_a_branch_is_written_once_and_asked_again_stays_as_it_is(people: People) -> None:
    forge = people.forge
    branch = propose(forge)
    commit = forge.branch_commit(branch.name)
    assert commit is not None
    assert forge.create_branch(branch) == commit
    assert (
        forge.create_branch(NewBranch(branch.name, branch.parent, {RELEASE: b"other\n"}, "other"))
        == commit
    )
    assert forge.read_file(RELEASE, commit) == b"version: '8'\n"
    assert forge.read_file("README.md", commit) == FILES["README.md"]
    assert forge.branch_commit("ratchet/none") is None


def test_a_branch_has_the_same_commit_whenever_and_wherever_it_is_written(people: People) -> None:
    forge = people.forge
    first = propose(forge, "ratchet/one")
    second = propose(forge, "ratchet/two")
    assert forge.branch_commit(first.name) == forge.branch_commit(second.name)


def test_a_pull_request_is_opened_once_and_follows_its_branch(people: People) -> None:
    forge, branch = people.forge, propose(people.forge)
    opened = forge.open_pull_request(branch.name, "flight-delay v8", "Why")
    again = forge.open_pull_request(branch.name, "another title", "other words")
    assert again == opened
    assert (opened.state, opened.branch, opened.head, opened.merge_commit, opened.labels) == (
        "open",
        branch.name,
        forge.branch_commit(branch.name),
        None,
        frozenset(),
    )
    pushed = people.push(branch.name, {"README.md": b"edited\n"})
    assert forge.pull_requests("ratchet/")[0].head == pushed


def test_a_difference_is_what_the_head_changed_since_it_left_the_base(people: People) -> None:
    forge, start = people.forge, people.forge.head()
    first = propose(forge)
    head = people.push(first.name, {"README.md": None, "NEW.md": FILES["README.md"]})
    base = people.push("main", {"gitops/models/README.md": b"meanwhile\n"})

    difference = forge.difference(base, head)

    release = blob_id(b"version: '8'\n")
    assert difference.merge_base == start
    assert difference.files == {
        RELEASE: release,
        "README.md": None,
        "NEW.md": blob_id(FILES["README.md"]),
    }
    before = people.push(first.name, {RELEASE: b"version: '9'\n"})
    assert forge.difference(base, head) == difference, "the branch moved, the commit did not"
    assert forge.difference(base, before).files[RELEASE] == blob_id(b"version: '9'\n")


def test_what_main_already_has_is_no_difference(people: People) -> None:
    forge, start = people.forge, people.forge.head()
    after = people.push("main", {"README.md": b"more\n"})
    for base, head in ((after, start), (after, after)):
        assert (forge.difference(base, head).merge_base, forge.difference(base, head).files) == (
            head,
            {},
        )


def test_a_file_whose_mode_alone_changed_is_in_the_difference(people: People) -> None:
    forge, base = people.forge, people.forge.head()
    name = propose(forge).name
    head = people.make_executable(name, "README.md")
    assert forge.difference(base, head).files["README.md"] == blob_id(FILES["README.md"])


def test_a_difference_has_all_its_files_however_many(people: People) -> None:
    forge, base = people.forge, people.forge.head()
    name = propose(forge).name
    head = people.push(name, {f"{number}.txt": b"%d\n" % number for number in range(400)})
    assert len(forge.difference(base, head).files) == 401


def test_a_difference_of_a_commit_that_no_branch_leads_to_is_not_found(people: People) -> None:
    with pytest.raises(CommitNotFound):
        people.forge.difference(people.forge.head(), "0" * 40)


def test_a_branchs_name_is_no_commit_to_compare(people: People) -> None:
    with pytest.raises(ForgeRefused, match="commit"):
        people.forge.difference(people.forge.head(), propose(people.forge).name)


def test_a_pull_request_from_no_branch_is_refused(people: People) -> None:
    with pytest.raises(ForgeRefused, match="422"):
        people.forge.open_pull_request("ratchet/none", "Nothing", "")


@pytest.mark.parametrize("squash", [False, True])
def test_a_merge_lands_as_one_first_parent_commit_of_main(people: People, squash: bool) -> None:
    forge, branch = people.forge, propose(people.forge)
    number = forge.open_pull_request(branch.name, "flight-delay v8", "Why").number
    elsewhere = people.push("main", {"README.md": b"meanwhile\n"})
    landed = people.merge(number, squash=squash)
    [merged] = forge.pull_requests("ratchet/")
    assert (merged.state, merged.merge_commit, merged.head) == (
        "merged",
        landed,
        forge.branch_commit(branch.name),
    )
    assert forge.head() == landed
    newest, oldest = forge.history(RELEASE, landed)
    assert (newest.commit, newest.content) == (landed, b"version: '8'\n")
    assert oldest.content == b"version: '7'\n"
    assert forge.history("README.md", landed)[0].commit == elsewhere


def test_history_names_the_commit_that_removed_a_file(people: People) -> None:
    start = people.forge.head()
    removed = people.push("main", {RELEASE: None})
    people.push("main", {"README.md": b"more\n"})
    history = people.forge.history(RELEASE, people.forge.head())
    assert [(version.commit, version.content) for version in history] == [
        (removed, None),
        (start, b"version: '7'\n"),
    ]


def test_pull_requests_are_listed_newest_first_in_every_state_by_their_branch(
    people: People,
) -> None:
    forge = people.forge
    numbers = [
        forge.open_pull_request(
            propose(forge, f"ratchet/a/v{version}", version).name, f"v{version}", ""
        ).number
        for version in (8, 9, 10)
    ]
    forge.open_pull_request(propose(forge, "ratchet/b/v11", 11).name, "v11", "")
    forge.close(numbers[0])
    people.merge(numbers[1])
    assert [(pull.number, pull.state) for pull in forge.pull_requests("ratchet/a/")] == list(
        zip(numbers[::-1], ("open", "merged", "closed"), strict=True)
    )


def test_a_pull_request_says_when_it_was_opened_and_when_it_ended(people: People) -> None:
    forge = people.forge
    opened = [
        forge.open_pull_request(
            propose(forge, f"ratchet/v{version}", version).name, f"v{version}", ""
        )
        for version in (8, 9)
    ]
    assert [pull.closed_at for pull in opened] == [None, None]
    assert [pull.closed_at for pull in forge.pull_requests("ratchet/")] == [None, None]
    forge.close(opened[0].number)
    people.merge(opened[1].number)
    for pull, before in zip(forge.pull_requests("ratchet/"), opened[::-1], strict=True):
        assert pull.created_at == before.created_at
        assert pull.closed_at is not None
        assert pull.closed_at >= pull.created_at
        assert pull.created_at.utcoffset() == pull.closed_at.utcoffset() == timedelta(0)


def test_a_closed_pull_request_keeps_its_head_when_the_branch_is_deleted(people: People) -> None:
    forge, branch = people.forge, propose(people.forge)
    opened = forge.open_pull_request(branch.name, "v8", "")
    forge.close(opened.number)
    people.delete_branch(branch.name)
    assert (forge.branch_commit(branch.name), forge.pull_requests("ratchet/")[0].head) == (
        None,
        opened.head,
    )


def test_labels_come_with_the_pull_requests_and_twice_is_once(people: People) -> None:
    forge = people.forge
    number = forge.open_pull_request(propose(forge).name, "v8", "").number
    forge.add_label(number, "ratchet/superseded")
    forge.add_label(number, "ratchet/superseded")
    assert forge.pull_requests("ratchet/")[0].labels == {"ratchet/superseded"}


def test_a_comment_is_made_once_for_its_marker(people: People) -> None:
    forge = people.forge
    number = forge.open_pull_request(propose(forge).name, "v8", "").number
    for marker in ("rollout-success", "rollout-success", "superseded"):
        forge.comment(number, marker, f"About {marker}")
    assert [comment.split("\n")[0] for comment in people.comments(number)] == [
        "About rollout-success",
        "About superseded",
    ]


def test_closing_twice_is_closing_once_and_a_merged_one_stays_merged(people: People) -> None:
    forge = people.forge
    first = forge.open_pull_request(propose(forge, "ratchet/a").name, "a", "").number
    second = forge.open_pull_request(propose(forge, "ratchet/b", 9).name, "b", "").number
    people.merge(second)
    for number in (first, first, second):
        forge.close(number)
    assert [pull.state for pull in forge.pull_requests("ratchet/")] == ["merged", "closed"]


def test_the_newest_status_of_each_context_counts(people: People) -> None:
    forge, commit = people.forge, people.forge.head()
    assert forge.statuses(commit) == ()
    forge.set_status(commit, "ratchet/rollout", "pending", "waiting")
    forge.set_status(commit, "ratchet/gate", "success", "fine")
    forge.set_status(commit, "ratchet/rollout", "failure", "x" * 200)
    found = forge.statuses(commit)
    assert [(status.context, status.state) for status in found] == [
        ("ratchet/gate", "success"),
        ("ratchet/rollout", "failure"),
    ]
    assert len(found[1].description) == 140
    at = found[0].at
    forge.set_status(commit, "ratchet/gate", "success", "fine")
    assert forge.statuses(commit)[0].at == at


def test_a_status_is_not_written_over_a_state_that_must_stay(people: People) -> None:
    forge, commit = people.forge, people.forge.head()
    forge.set_status(commit, "ratchet/rollout", "success", "healthy")
    forge.set_status(commit, "ratchet/rollout", "pending", "late", unless=("success", "failure"))
    assert [status.state for status in forge.statuses(commit)] == ["success"]
    forge.set_status(commit, "ratchet/rollout", "failure", "wanted", unless=("pending",))
    assert [status.state for status in forge.statuses(commit)] == ["failure"]


def test_all_statuses_are_read_however_many_there_are(people: People) -> None:
    forge, commit = people.forge, people.forge.head()
    contexts = [f"check/{number:03}" for number in range(105)]
    for context in contexts:
        forge.set_status(commit, context, "pending", "x")
    forge.set_status(commit, contexts[0], "failure", "y")
    assert [status.context for status in forge.statuses(commit)] == contexts
    assert forge.statuses(commit)[0].state == "failure"


# what only a network does


@pytest.fixture
def liar(tmp_path: Path) -> Iterator[LyingForge]:
    with lying_forge(tmp_path / "ratchet.git", FILES) as found:
        yield found


@pytest.fixture
def client(liar: LyingForge, tmp_path: Path) -> GitHubForge:
    return client_of(liar, tmp_path, timeout_seconds=2)


def client_of(liar: LyingForge, folder: Path, *, timeout_seconds: float = 15) -> GitHubForge:
    return GitHubForge(
        liar.url,
        liar.token,
        REPOSITORY,
        mirror=folder / "mirror.git",
        seconds_between_writes=0,
        timeout_seconds=timeout_seconds,
    )


def test_a_branch_whose_answer_was_lost_is_there_once(
    liar: LyingForge, client: GitHubForge
) -> None:
    liar.lie("lost_answer", "POST", "/git-receive-pack$")
    branch = NewBranch("ratchet/v8", client.head(), {RELEASE: b"version: '8'\n"}, "Release v8")
    assert client.create_branch(branch) == client.branch_commit("ratchet/v8") is not None


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_branch_that_the_forge_was_not_asked_for_is_not_there(
    liar: LyingForge, client: GitHubForge, method: str
) -> None:
    client.head()
    liar.lie("outage", method, "/(info/refs|git-receive-pack)$")
    with pytest.raises(ForgeUnavailable, match="502"):
        propose(client, "ratchet/v8")
    assert client.branch_commit("ratchet/v8") is None
    assert propose(client, "ratchet/v8")


def test_a_branch_that_another_made_meanwhile_stays_as_it_is(
    liar: LyingForge, client: GitHubForge, tmp_path: Path
) -> None:
    branch = NewBranch("ratchet/v8", client.head(), {RELEASE: b"version: '8'\n"}, "Release v8")
    other = replace(branch, files={RELEASE: b"version: '9'\n"})
    made = client_of(liar, tmp_path / "other").create_branch(other)
    assert client.branch_commit("ratchet/v8") is None, "this client did not fetch since"
    assert client.create_branch(branch) == made
    assert client.branch_commit("ratchet/v8") == made


def test_a_branch_at_mains_commit_that_a_person_made_meanwhile_does_not_move(
    liar: LyingForge, client: GitHubForge, tmp_path: Path
) -> None:
    branch = NewBranch("ratchet/v8", client.head(), {RELEASE: b"version: '8'\n"}, "Release v8")
    Repository(tmp_path / "ratchet.git").set_ref("refs/heads/ratchet/v8", branch.parent, ABSENT)
    assert client.create_branch(branch) == branch.parent


def test_a_branch_that_a_rule_of_the_forge_forbids_is_a_refusal(
    client: GitHubForge, tmp_path: Path
) -> None:
    hook = tmp_path / "ratchet.git" / "hooks" / "update"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    with pytest.raises(ForgeRefused, match="hook declined"):
        propose(client)


def test_a_pull_request_whose_answer_was_lost_is_opened_once(
    liar: LyingForge, client: GitHubForge
) -> None:
    branch = propose(client)
    liar.lie("lost_answer", "POST", "/pulls$")
    assert client.open_pull_request(branch.name, "v8", "Why").number == 1
    assert [pull.number for pull in client.pull_requests("ratchet/")] == [1]
    assert liar.asked.count(("POST", "/pulls")) == 2


def test_an_outage_that_lasts_is_unavailable_and_never_an_absence(
    liar: LyingForge, client: GitHubForge
) -> None:
    liar.lie("outage", times=100)
    for ask in (
        client.head,
        lambda: client.branch_commit("ratchet/none"),
        lambda: client.pull_requests("ratchet/"),
        lambda: client.read_file("none", "0" * 40),
    ):
        client.refresh()
        with pytest.raises(ForgeUnavailable):
            ask()


def test_an_outage_is_asked_about_once_until_the_next_refresh(
    liar: LyingForge, client: GitHubForge
) -> None:
    liar.lie("outage", times=100)
    with pytest.raises(ForgeUnavailable):
        client.head()
    asked = len(liar.asked)
    with pytest.raises(ForgeUnavailable):
        client.head()
    assert len(liar.asked) == asked
    liar.lies.clear()
    client.refresh()
    assert len(client.head()) == 40


def test_a_short_rate_limit_is_waited_for(liar: LyingForge, client: GitHubForge) -> None:
    liar.lie("rate_limit", "GET", "/pulls", seconds=1)
    assert client.pull_requests("ratchet/") == ()


def test_an_answer_later_than_the_timeout_is_unavailable(liar: LyingForge, tmp_path: Path) -> None:
    client = client_of(liar, tmp_path, timeout_seconds=1)
    liar.lie("slow", times=10, seconds=1.5)
    for ask in (client.head, lambda: client.pull_requests("ratchet/")):
        client.refresh()
        with pytest.raises(ForgeUnavailable):
            ask()


def test_a_wrong_token_and_a_forbidden_write_are_refusals(
    liar: LyingForge, client: GitHubForge, tmp_path: Path
) -> None:
    with pytest.raises(ForgeRefused, match="PROMOTE_FORGE_TOKEN"):
        GitHubForge(
            liar.url, "wrong", REPOSITORY, mirror=tmp_path / "other.git", seconds_between_writes=0
        ).pull_requests("ratchet/")
    liar.lie("forbidden", "POST", "/git-receive-pack$")
    with pytest.raises(ForgeRefused, match=r"403.*PROMOTE_FORGE_TOKEN"):
        propose(client)
    liar.lie("forbidden", "POST", "/statuses/")
    with pytest.raises(ForgeRefused, match=r"403.*PROMOTE_FORGE_TOKEN"):
        client.set_status(client.head(), "ratchet/gate", "success", "fine")


def test_no_forge_at_all_is_unavailable(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/api/v3"
    with pytest.raises(ForgeUnavailable):
        GitHubForge(url, TOKEN, REPOSITORY, mirror=tmp_path / "mirror.git").head()


def test_a_quiet_look_costs_one_list_and_one_fetch(liar: LyingForge, client: GitHubForge) -> None:
    client.open_pull_request(propose(client).name, "v8", "Why")
    client.pull_requests("ratchet/")
    client.refresh()
    liar.asked.clear()
    [pull] = client.pull_requests("ratchet/")
    client.difference(client.head(), pull.head)
    client.history(RELEASE, client.head())
    client.list_folder("gitops/models", client.head())
    assert [method for method, _ in liar.asked] == ["GET", "GET"]


def test_the_list_is_read_up_to_what_is_known(liar: LyingForge, client: GitHubForge) -> None:
    numbers = [
        client.open_pull_request(propose(client, f"ratchet/v{n}", n).name, f"v{n}", "").number
        for n in range(1, 106)
    ]
    client.close(numbers[0])
    assert [pull.number for pull in client.pull_requests("ratchet/")] == numbers[::-1]
    assert client.pull_requests("ratchet/v1/") == ()
    time.sleep(1.1)  # GitHub's moments have no fractions; what has the newest one is read again
    client.close(numbers[1])
    client.pull_requests("ratchet/")
    client.refresh()
    liar.asked.clear()
    states = {pull.number: pull.state for pull in client.pull_requests("ratchet/")}
    assert [number for number, state in states.items() if state == "closed"] == numbers[1::-1]
    assert [path for _, path in liar.asked if path == "/pulls"] == ["/pulls"]


def test_promote_stops_writing_before_github_refuses(liar: LyingForge, tmp_path: Path) -> None:
    hour = [0.0]
    client = GitHubForge(
        liar.url,
        TOKEN,
        REPOSITORY,
        mirror=tmp_path / "mirror.git",
        seconds_between_writes=0,
        writes_per_hour=4,
        clock=lambda: hour[0],
    )
    client.open_pull_request(propose(client, "ratchet/v1").name, "v1", "one write")
    client.set_status(client.head(), "ratchet/gate", "success", "another write")
    with pytest.raises(ForgeUnavailable, match="3600 s"):
        propose(client, "ratchet/v2")
    client.set_status(client.head(), "ratchet/gate", "failure", "other writes go on")
    client.set_status(client.head(), "ratchet/gate", "success", "until the limit")
    with pytest.raises(ForgeUnavailable, match="3600 s"):
        client.set_status(client.head(), "ratchet/gate", "failure", "above the limit")
    hour[0] = 3601
    propose(client, "ratchet/v2")


@pytest.mark.parametrize("kind", ["no_json", "other_json", "half_json"])
def test_an_answer_that_is_not_githubs_is_unavailable(
    liar: LyingForge, client: GitHubForge, kind: Kind
) -> None:
    main = client.head()
    for ask in (
        client.head,
        lambda: client.branch_commit("ratchet/none"),
        lambda: client.pull_requests("ratchet/"),
        lambda: client.read_file(RELEASE, main),
        lambda: client.history(RELEASE, main),
        lambda: client.statuses(main),
        lambda: client.difference(main, main),
    ):
        liar.lies.clear()
        client.refresh()
        liar.lie(kind, times=100)
        with pytest.raises(ForgeUnavailable):
            ask()


def test_a_link_is_no_file(tmp_path: Path) -> None:
    with lying_forge(tmp_path / "ratchet.git") as liar:
        repository = Repository(tmp_path / "ratchet.git")
        entry = Entry("120000", "blob", repository.write_blob(b"README.md"), "link.md")
        tree = repository.write_tree("refs/heads/main", [entry])
        author = person("ada")
        commit = repository.write_commit(tree, [], "A link", author, author)
        repository.set_ref("refs/heads/ratchet/link", commit, ABSENT)
        assert client_of(liar, tmp_path).read_file("link.md", commit) is None


def test_a_status_costs_one_look_and_one_write(liar: LyingForge, client: GitHubForge) -> None:
    commit = client.head()
    liar.asked.clear()
    client.set_status(commit, "ratchet/gate", "success", "fine")
    client.set_status(commit, "ratchet/gate", "success", "fine")
    assert [method for method, _ in liar.asked] == ["GET", "POST", "GET"]
