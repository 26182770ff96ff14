"""The script of .github/workflows/gate.yaml in a real bash: which pull requests get `ratchet/gate`. GitHub is a program `gh` on a real git repository."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

WORKFLOW = yaml.safe_load((Path(__file__).parents[2] / ".github/workflows/gate.yaml").read_text())
STEP = WORKFLOW["jobs"]["status"]["steps"][0]
NO_RELEASE, WAY_BACK = "names no release", "a way back: main had every release it names before"

GH = r'''
"""`gh api` for what the workflow asks, with two entries a page. What --jq does is written twice: here, and by jq itself where it is installed."""
import json, os, re, shutil, subprocess, sys
from argparse import ArgumentParser
from urllib.parse import parse_qs, urlsplit

JQ = {
    '.[] | [.status, .filename, (.sha // "-"), (.previous_filename // "-")] | @tsv': lambda page: [
        "\t".join((one["status"], one["filename"], one["sha"] or "-", one.get("previous_filename") or "-")) for one in page
    ],
    ".[].sha": lambda page: [one["sha"] for one in page],
    ".sha": lambda found: [found["sha"]],
}
STATUS = {"A": "added", "M": "modified", "D": "removed", "R": "renamed"}
PAGE = 2

parser = ArgumentParser()
parser.add_argument("api")
parser.add_argument("--paginate", action="store_true")
parser.add_argument("--method", default="GET")
parser.add_argument("path")
parser.add_argument("--jq")
parser.add_argument("-f", action="append", default=[])
asked = parser.parse_args()
url = urlsplit(asked.path)
query = {name: values[-1] for name, values in parse_qs(url.query).items()}
what, _, rest = url.path.removeprefix("repos/acme/ratchet/").partition("/")

def git(*arguments):
    done = subprocess.run(["git", "-c", "core.quotePath=false", *arguments], capture_output=True, text=True)
    return done.stdout.splitlines() if done.returncode == 0 else fail(404, "Not Found")

def fail(code, message):
    print(json.dumps({"message": message, "status": str(code)}))
    sys.exit(f"gh: {message} (HTTP {code})")

def changed(line):
    modes, _, names = line.partition("\t")
    _, _, old, new, letter = modes.split()
    *before, name = names.split("\t")
    return {"sha": old if letter == "D" else new, "filename": name, "status": STATUS[letter[0]], **({"previous_filename": before[0]} if before else {})}

def say(found):
    lines = JQ[asked.jq](found)
    if shutil.which("jq"):
        assert subprocess.run(["jq", "-r", asked.jq], input=json.dumps(found), capture_output=True, text=True, check=True).stdout.splitlines() == lines
    print("\n".join(lines))

if re.search(os.environ["FAILING"], asked.path):
    fail(502, "Server Error")
elif (asked.method, what) == ("POST", "statuses"):
    with open(os.environ["STATUSES"], "a") as file:
        print(json.dumps(dict(field.split("=", 1) for field in asked.f) | {"commit": rest}), file=file)
elif what == "contents":
    say({"sha": git("rev-parse", "--verify", f"{query['ref']}:{rest}")[0]})
else:
    if what == "commits":
        found = [{"sha": commit} for commit in git("log", "--format=%H", query["sha"], "--", query["path"])]
    else:
        assert (what, rest) == ("pulls", "7/files")
        found = [changed(line) for line in git("diff", "--raw", "--no-abbrev", "--find-renames", "main...topic")]
    for start in range(0, len(found) if asked.paginate else 1, PAGE):
        say(found[start : start + PAGE])
'''


def path(model: str) -> str:
    return f"gitops/models/{model}/production/release.yaml"


A, B, GONE = path("a"), path("b"), path("gone")
ODD = path("an odd name")
Files = Mapping[str, str | None]
"""Paths to contents; None removes a file."""

MAIN: Sequence[Files] = (
    {"README.md": "hello\n", "docs/kept.yaml": "gone 1\n", ODD: "odd 1\n"},
    {A: "a 1\n"},
    {A: "a 2\n"},
    {A: None},
    {A: "a 3\n", ODD: "odd 2\n"},
    {B: "b 7\n", "gitops/models/b/production/kustomization.yaml": "kind: Kustomization\n", "gitops/clusters/production/b.yaml": "kind: Flux\n"},
    {GONE: "gone 1\n"},
    {GONE: None},
)


class Repository:
    """main as above, and the branch `topic` of pull request 7."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self) -> None:
        """Write the programs and the commits of main."""
        (self._folder / "bin").mkdir()
        (self._folder / "bin/gh").write_text(f"#!{sys.executable} -IS\n{GH}")
        (self._folder / "bin/gh").chmod(0o755)
        (self._folder / "script").write_text(STEP["run"])
        (self._folder / "git").mkdir()
        self._git("init", "--quiet", "--initial-branch=main")
        for files in MAIN:
            self._commit(files)
        self._git("checkout", "--quiet", "-b", "topic")

    def _git(self, *arguments: str) -> str:
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self._folder)} | {
            f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        return subprocess.run(["git", *arguments], cwd=self._folder / "git", env=env, check=True, capture_output=True, text=True).stdout.strip()

    def _commit(self, files: Files) -> None:
        for name, content in files.items():
            file = self._folder / "git" / name
            if content is None:
                file.unlink()
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(content)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message=a commit")

    def propose(self, *commits: Files, branch: str = "topic", failing: str = "(?!)", without: str = "") -> subprocess.CompletedProcess[str]:
        """Open the pull request and run the workflow as GitHub does: `bash -e` on a file."""
        for files in commits:
            self._commit(files)
        env = {"PATH": f"{self._folder}/bin:/usr/bin:/bin", "GITHUB_REPOSITORY": "acme/ratchet", "FAILING": failing, "STATUSES": str(self._folder / "statuses")}
        env |= {"GH_TOKEN": "t", "NUMBER": "7", "HEAD": self.head(), "BRANCH": branch, "BASE": "main"}
        env.pop(without, None)
        script = ["bash", "-e", str(self._folder / "script")]
        return subprocess.run(script, cwd=self._folder / "git", env=env, check=False, capture_output=True, text=True)

    def head(self) -> str:
        return self._git("rev-parse", "HEAD")

    def statuses(self) -> list[dict[str, Any]]:
        written = self._folder / "statuses"
        return [json.loads(line) for line in written.read_text().splitlines()] if written.exists() else []


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    Repository(folder).make()
    return folder


@pytest.fixture
def repository(made: Path, tmp_path: Path) -> Repository:
    return Repository(shutil.copytree(made, tmp_path / "repository"))


@pytest.mark.parametrize(
    ("files", "says"),
    [
        pytest.param({"README.md": "bye\n", "dags/models/a.yaml": "name: a\n"}, NO_RELEASE, id="no release"),
        pytest.param({"gitops/models/release/kustomization.yaml": "kind: Component\n"}, NO_RELEASE, id="what every release shares"),
        pytest.param({f"docs/{A}": "a 9\n", f"{A}.md": "a 9\n", "gitops/models/a/b/c/release.yaml": "a 9\n"}, NO_RELEASE, id="names like a release's"),
        pytest.param({B: None}, WAY_BACK, id="a first release removed"),
        pytest.param(
            {B: None, "gitops/models/b/production/kustomization.yaml": None, "gitops/clusters/production/b.yaml": None}, WAY_BACK, id="a model removed"
        ),
        pytest.param({A: "a 2\n"}, WAY_BACK, id="the release before, restored past the commit that removed it"),
        pytest.param({A: "a 1\n"}, WAY_BACK, id="an older release, on the second page of commits"),
        pytest.param({GONE: "gone 1\n", "docs/more.md": "more\n"}, WAY_BACK, id="a removed release restored"),
        pytest.param({A: "a 1\n", B: None, "README.md": "bye\n"}, WAY_BACK, id="two ways back and a page"),
    ],
)
def test_a_pull_request_that_names_no_release_or_goes_back_gets_the_gates_status(repository: Repository, files: Files, says: str) -> None:
    assert repository.propose(files).returncode == 0
    assert repository.statuses() == [{"commit": repository.head(), "state": "success", "context": "ratchet/gate", "description": says}]
    assert len(says) <= 140


@pytest.mark.parametrize(
    "commits",
    [
        pytest.param([{A: "a 9\n"}], id="a new release"),
        pytest.param([{path("new"): "new 1\n"}], id="a first release"),
        pytest.param([{A: "b 7\n"}], id="what another model's file holds"),
        pytest.param([{A: "a 1\n", B: "b 8\n"}], id="a way back and then a new release"),
        pytest.param([{A: "a 1\n", path("new"): "a 1\n"}], id="a way back and another model with the same content"),
        pytest.param([{A: "a 9\n", B: None}], id="a new release and then a way back"),
        pytest.param([{"LICENSE": "1\n", "README.md": "2\n", "aaa": "3\n", A: "a 9\n"}], id="a new release on the second page of files"),
        pytest.param([{A: "a 9\n"}, {A: "a 10\n"}, {A: "a 9\n"}], id="what only the branch had before"),
        pytest.param([{B: None, path("new"): "b 7\n"}], id="a release renamed"),
        pytest.param([{B: None, "docs/was.yaml": "b 7\n"}], id="a release moved away"),
        pytest.param([{"docs/kept.yaml": None, GONE: "gone 1\n"}], id="a file renamed to a release that main had"),
        pytest.param([{ODD: "odd 1\n"}], id="an old release under a name that no model can have"),
    ],
)
def test_any_other_release_gets_no_status_and_the_log_says_that_only_promote_can(repository: Repository, commits: Sequence[Files]) -> None:
    done = repository.propose(*commits)
    assert (done.returncode, repository.statuses()) == (0, [])
    assert done.stdout.startswith("No status: main never had")
    assert "only promote can" in done.stdout


@pytest.mark.parametrize("files", [{A: "a 1\n"}, {B: None}, {A: "a 9\n"}], ids=["restores", "removes", "new"])
def test_a_release_on_a_branch_of_promote_is_left_to_promote(repository: Repository, files: Files) -> None:
    done = repository.propose(files, branch="ratchet/a/production/rollback-to-v1-over-0123456789ab")
    assert (done.returncode, repository.statuses()) == (0, [])
    assert "promote's" in done.stdout


def test_a_branch_of_promote_without_a_release_gets_the_status(repository: Repository) -> None:
    assert repository.propose({"README.md": "bye\n"}, branch="ratchet/notes").returncode == 0
    assert [status["description"] for status in repository.statuses()] == [NO_RELEASE]


def test_githubs_revert_of_a_promotion_is_a_persons(repository: Repository) -> None:
    assert repository.propose({A: "a 2\n"}, branch="revert-12-ratchet/a/production/v3-over-0123456789ab").returncode == 0
    assert [status["description"] for status in repository.statuses()] == [WAY_BACK]


@pytest.mark.parametrize("failing", ["/pulls/", r"/commits\?", "/contents/", "/statuses/"])
def test_an_answer_that_github_owes_fails_the_run_and_gives_nothing(repository: Repository, failing: str) -> None:
    done = repository.propose({A: "a 2\n"}, failing=failing)
    assert done.returncode != 0
    assert repository.statuses() == []


@pytest.mark.parametrize("name", ["GITHUB_REPOSITORY", "NUMBER", "HEAD", "BRANCH", "BASE"])
def test_a_missing_input_fails_the_run_and_gives_nothing(repository: Repository, name: str) -> None:
    assert repository.propose({A: "a 2\n"}, without=name).returncode != 0
    assert repository.statuses() == []


def test_the_script_sees_a_pull_requests_words_through_its_environment_only() -> None:
    assert "${{" not in STEP["run"]
    assert STEP["env"] == {
        "GH_TOKEN": "${{ github.token }}",
        "NUMBER": "${{ github.event.pull_request.number }}",
        "HEAD": "${{ github.event.pull_request.head.sha }}",
        "BRANCH": "${{ github.event.pull_request.head.ref }}",
        "BASE": "${{ github.event.pull_request.base.ref }}",
    }


def test_the_workflow_may_read_and_set_statuses_and_looks_again_when_the_base_changes() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read", "pull-requests": "read", "statuses": "write"}
    assert all("permissions" not in job for job in WORKFLOW["jobs"].values())
    trigger = WORKFLOW[True]["pull_request"]  # YAML 1.1 reads `on` as true
    assert trigger["branches"] == ["main"]
    assert {"opened", "synchronize", "reopened", "edited"} == set(trigger["types"])
