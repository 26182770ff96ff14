"""`make demo CLUSTER=kubernetes` on two weeks that are both promoted.

Servers and gateway are pods that Flux applies from main.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_demo import ROOT, left_by
from tests.grounds.kubernetes_ground import why_not

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.kubernetes,
    pytest.mark.timeout(1500),
]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("demo") / "state"
    options = ["--cluster", "kubernetes", "--first-week", "2013-07-01", "--weeks", "2", "--exit"]
    command = [sys.executable, "-m", "infra.local.demo", "--folder", str(folder), *options]
    running = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        output, _ = running.communicate(timeout=1400)
    finally:
        running.kill()
    assert running.returncode == 0, output[-6000:]
    return folder, json.loads((folder / "summary.json").read_text())


def test_every_step_came_true_and_nothing_is_left_running(
    told: tuple[Path, dict[str, Any]],
) -> None:
    folder, summary = told
    assert [step["outcome"] for step in summary["steps"]] == ["ok"] * 9  # seven, and each week's
    assert left_by(folder) == []
    assert not (folder / "kubernetes" / "state.json").exists()


def test_no_request_failed_while_pods_were_replaced(told: tuple[Path, dict[str, Any]]) -> None:
    verdicts = [week["verdict"] for week in told[1]["weeks"]]
    assert verdicts == ["promote", "promote", "unchanged"], (
        "no pod was replaced under load: choose other weeks"
    )
    requests = told[1]["requests"]
    assert requests["sent"] > 100
    assert requests["failed"] == 0
    assert len(requests["by_version"]) == 2


def test_who_served_when_is_answered_from_git_after_a_rollback(
    told: tuple[Path, dict[str, Any]],
) -> None:
    first, *_, last = told[1]["served_at"]
    assert (first["version"], first["image_digest"]) == (
        last["version"],
        last["image_digest"],
    )  # brought back
    assert first["pull_request"] < last["pull_request"]
