"""The local forge enforces the ruleset that production gives to GitHub: a status, and a review."""

from __future__ import annotations

import logging
import os
import subprocess
from pathlib import Path

import pytest

from infra.local.forge.app import forge, seed
from infra.local.forge.git_operations import delete_ref, update_ref
from infra.local.forge.pages import Pages
from infra.local.forge.pulls import Pulls, now
from infra.local.forge.refusals import Refusal
from infra.local.forge.repository import Repository
from infra.local.forge.ruleset import Ruleset, parse_ruleset
from infra.local.forge.store import Pull, Status, Store
from tests.unit.infra.test_forge import call, commit_on, opened

RULESET = parse_ruleset(
    (Path(__file__).parents[3] / "infra" / "aws" / "ruleset.json").read_text(encoding="utf-8")
)


@pytest.fixture
def pulls(tmp_path: Path) -> Pulls:
    seed(tmp_path / "r.git", {"README.md": b"one\n"})
    store = Store(tmp_path / "r.git" / "forge.sqlite3")
    return Pulls(Repository(tmp_path / "r.git"), store, "acme/ratchet", RULESET)


def judge(pulls: Pulls, pull: Pull, state: str) -> None:
    pulls.store.add(
        Status,
        sha=pull.head_sha,
        state=state,
        context="ratchet/gate",
        author="ratchet-bot",
        created_at=now(),
    )


def merge(pulls: Pulls, pull: Pull) -> Pull:
    return pulls.merge(pull.id, by="reviewer", sha=pulls.get(pull.id).head_sha)


def test_productions_ruleset_asks_for_the_gates_status_and_one_review() -> None:
    assert Ruleset(approvals=1, contexts=("ratchet/gate",)) == RULESET


def test_a_merge_needs_the_status_and_a_review_by_another_user(pulls: Pulls) -> None:
    pull = opened(pulls)
    with pytest.raises(Refusal, match=r"(?s)ratchet/gate.*approving review") as refused:
        merge(pulls, pull)
    assert refused.value.status == 405
    judge(pulls, pull, "failure")
    pulls.approve(pull.id, by="reviewer", sha=pull.head_sha)
    with pytest.raises(Refusal, match="ratchet/gate"):
        merge(pulls, pull)
    judge(pulls, pull, "success")
    assert merge(pulls, pull).merged_at is not None


def test_the_author_cannot_approve(pulls: Pulls) -> None:
    pull = opened(pulls)
    judge(pulls, pull, "success")
    with pytest.raises(Refusal, match="your own pull request"):
        pulls.approve(pull.id, by="ratchet-bot", sha=pull.head_sha)
    with pytest.raises(Refusal, match="approving review"):
        merge(pulls, pull)


def test_a_later_push_needs_a_new_status_and_a_new_review(pulls: Pulls) -> None:
    pull = opened(pulls)
    judge(pulls, pull, "success")
    pulls.approve(pull.id, by="reviewer", sha=pull.head_sha)
    commit_on(pulls.repository, "topic", {"d.txt": b"d\n"})
    with pytest.raises(Refusal, match=r"(?s)ratchet/gate.*approving review"):
        merge(pulls, pull)
    with pytest.raises(Refusal, match="Review the newest commit") as refused:
        pulls.approve(pull.id, by="reviewer", sha=pull.head_sha)
    assert refused.value.status == 409


def test_the_page_approves_as_the_reviewer(pulls: Pulls) -> None:
    pull = opened(pulls)
    judge(pulls, pull, "success")
    pages = Pages(pulls, "reviewer")
    pages.act(pull.id, {"act": "approve", "sha": pull.head_sha})
    pages.act(pull.id, {"act": "squash", "sha": pull.head_sha})
    assert pulls.get(pull.id).merged_at is not None


def test_main_takes_no_other_change_over_rest(pulls: Pulls) -> None:
    old = pulls.repository.resolve("main")
    sha = commit_on(pulls.repository, "topic", {"c.txt": b"c\n"})
    asked = call(pulls, body={"sha": sha})
    for operation in (update_ref, delete_ref):
        with pytest.raises(Refusal, match="through a pull request"):
            operation(_at(asked, "heads/main"))
    assert pulls.repository.resolve("main") == old
    delete_ref(_at(asked, "heads/topic"))


def _at(asked, ref):
    return type(asked)(**{**vars(asked), "path": {"ref": ref}})


def test_main_takes_no_push(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bare, work = tmp_path / "r.git", tmp_path / "work"
    seed(bare, {"README.md": b"one\n"})
    forge(bare, "acme/ratchet", {"t": "ratchet-bot"}, ruleset=RULESET)
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0"}
    who = ["-c", "user.name=ada", "-c", "user.email=ada@example.org"]

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *words], env=env, capture_output=True, text=True, check=False)

    assert git("clone", "--quiet", str(bare), str(work)).returncode == 0
    commit = git("-C", str(work), *who, "commit", "--quiet", "--allow-empty", "-m", "Direct")
    assert commit.returncode == 0
    pushed = git("-C", str(work), "push", "origin", "HEAD:main")
    assert pushed.returncode != 0
    assert "through a pull request" in pushed.stderr
    assert git("-C", str(work), "push", "origin", "HEAD:topic").returncode == 0
    forge(bare, "acme/ratchet", {"t": "ratchet-bot"})  # without a ruleset the rule is gone
    assert git("-C", str(work), "push", "origin", "HEAD:main").returncode == 0
