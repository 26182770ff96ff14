"""The README's first command, on fewer weeks: the whole loop over real Airflow, MLflow, BentoML, git and flights."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WEEKS = 3


def demo(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "infra.local.demo", "--folder", str(folder), "--weeks", str(WEEKS), *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def left_by(folder: Path) -> list[str]:
    """Command lines of running processes that name the demo's folder in their words or their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if str(folder).encode() in words and int(process.name) != os.getpid():
            found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    folder = tmp_path_factory.mktemp("demo") / "state"
    running = demo(folder, "--exit")
    try:
        output, _ = running.communicate(timeout=600)
    finally:
        running.kill()
    assert running.returncode == 0, output[-6000:]
    return folder, json.loads((folder / "summary.json").read_text()), output


@pytest.mark.slow
@pytest.mark.timeout(700)
class TestTheWholeLoop:
    def test_every_step_came_true_and_nothing_is_left_running(self, told: tuple[Path, dict[str, Any], str]) -> None:
        folder, summary, _ = told
        assert [step["outcome"] for step in summary["steps"]] == ["ok"] * len(summary["steps"])
        assert left_by(folder) == []

    def test_the_first_week_is_promoted_and_a_week_without_rows_changes_nothing(self, told: tuple[Path, dict[str, Any], str]) -> None:
        weeks = told[1]["weeks"]
        assert weeks[0]["kind"] == "first"
        assert weeks[0]["verdict"] == "promote"
        assert weeks[0]["lower"] > 0
        assert weeks[0]["pull_request"] == 1
        assert weeks[-1] == {**dict.fromkeys(weeks[-1]), "window_end": weeks[-1]["window_end"], "verdict": "unchanged"}

    def test_every_promoted_week_obeys_the_policy(self, told: tuple[Path, dict[str, Any], str]) -> None:
        for week in told[1]["weeks"]:
            assert (week["pull_request"] is not None) == (week["verdict"] == "promote")
            if week["improvement"] is not None:
                assert week["lower"] <= week["improvement"] <= week["upper"]

    def test_no_request_failed_during_a_rollout_and_both_versions_answered(self, told: tuple[Path, dict[str, Any], str]) -> None:
        requests = told[1]["requests"]
        assert requests["sent"] > 100
        assert requests["failed"] == 0
        assert len(requests["by_version"]) >= 2
        assert sum(requests["by_version"].values()) == requests["sent"]

    def test_who_served_when_is_answered_from_git_after_a_rollback(self, told: tuple[Path, dict[str, Any], str]) -> None:
        first, _, last = told[1]["served_at"]
        assert datetime.fromisoformat(first["at"]) < datetime.fromisoformat(last["at"])
        assert first["version"] == last["version"]  # brought back
        assert first["image_digest"] == last["image_digest"]
        assert first["pull_request"] < last["pull_request"]

    def test_the_addresses_and_a_request_to_copy_are_printed(self, told: tuple[Path, dict[str, Any], str]) -> None:
        for word in (
            "Airflow http://127.0.0.1",
            "MLflow http://127.0.0.1",
            "/acme/ratchet/pulls",
            "/promotions",
            "curl -s http://127.0.0.1",
            "Authorization: Bearer",
        ):
            assert word in told[2]


@pytest.mark.slow
def test_a_demo_that_is_interrupted_ends_everything_within_ten_seconds(tmp_path: Path) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    folders = [tmp_path / number.name for number in numbers]
    demos = [demo(folder) for folder in folders]  # side by side: most of this test is their start
    for running in demos:
        assert running.stdout is not None
        for line in running.stdout:
            if "The first week" in line:  # all servers are up, and a retrain begins
                break
    time.sleep(4)  # into the retrain: its processes must end too
    for number, folder, running in zip(numbers, folders, demos, strict=True):
        began = time.monotonic()
        running.send_signal(number)
        running.communicate(timeout=30)
        assert time.monotonic() - began < 10
        assert left_by(folder) == []
