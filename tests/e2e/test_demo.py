"""The README's first command on fewer weeks: the whole loop with every real program.

The demo runs once, as `make demo`, on a machine without internet (`tests/grounds/offline.py`).
A browser opens its pages while it is up. Then make gets a SIGINT.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from json import loads
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
import yaml

from tests.grounds.browser import Page, open_page, why_no_browser
from tests.grounds.naive_gate import days_of, interval, recorded, rule
from tests.grounds.offline import beside, offline, read_attempts, why_not_offline

ROOT = Path(__file__).parents[2]
WEEKS = 3
"""The first model is promoted, the second is kept out, the third is promoted."""
SECONDS = 780
"""For the story: 200 on an idle machine."""
UNSET = ("CI", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")
"""In CI libraries do not report to their makers. MAKE's variables would change the inner make."""


@dataclass(frozen=True)
class Told:
    """What one demo left."""

    folder: Path
    summary: dict[str, Any]
    output: str
    attempts: list[str]
    """Connections to other hosts and look-ups of names."""
    pages: dict[str, Page]
    asked: dict[str, subprocess.CompletedProcess[str]]
    """The README's commands of "Ask Ratchet", each as it is written there."""


PAGES = {
    "pull requests": ("{forge}/acme/ratchet/pulls", "flight-delay v1: log loss improves"),
    "a pull request": ("{forge}/acme/ratchet/pull/1", "against the constant"),
    "promotions": ("{promote}/promotions", '"model":"flight-delay"'),
    "cluster": ("{cluster}/", "server-flight-delay"),
    "gateway": ("{gateway}/docs", "/v1/models/flight-delay:predict"),
    "MLflow": (
        "{mlflow}/#/models/flight-delay",
        "Will this flight arrive more than 15 minutes late?",
    ),
    "MLflow's first page": ("{mlflow}/#/experiments?workflowType=machine_learning", "flight-delay"),
    "Airflow": ("{airflow}/dags/retrain-flight-delay", "Retrain flight-delay"),
}
"""Of each page its address and words that only its content has."""
PRINTED = re.compile(
    r"Airflow (?P<airflow>\S+) +MLflow (?P<mlflow>http://[^/]+)\S+ +pull requests (?P<forge>http://[^/]+)\S+\s+"
    r"promotions (?P<promote>http://[^/]+)\S+ +cluster (?P<cluster>\S+) +gateway (?P<gateway>http://[^/]+)/docs"
)


def demo(folder: Path, *options: str, attempts: Path | None = None) -> subprocess.Popen[str]:
    """Start `make demo`; make has the process id that is returned."""
    arguments = f"ARGS=--folder {folder} --weeks {WEEKS} {' '.join(options)}"
    make = [
        "make",
        "--old-file=.venv/.ready",
        f"BIN={Path(sys.executable).parent}",
        arguments,
        "demo",
    ]
    words = make if attempts is None else offline(make, attempts)
    env = {name: value for name, value in os.environ.items() if name not in UNSET}
    return subprocess.Popen(
        words, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def read_until(running: subprocess.Popen[str], words: str) -> str:
    """Return what was printed up to the line with the words, or up to the end."""
    assert running.stdout is not None
    output = ""
    for line in running.stdout:
        output += line
        if words in line:
            break
    return output


def seen_words(dom: str) -> str:
    """Return what a person reads on a page; Swagger breaks paths with spaces of no width."""
    text = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", "", dom, flags=re.DOTALL)
    return text.replace("\u200b", "")


def skip_or_fail(reason: str) -> None:
    """Skip and say why; in CI what is missing is a failure."""
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


def left_by(folder: Path) -> list[str]:
    """Command lines of processes with the demo's folder in their words or environment."""
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
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    place = tmp_path_factory.mktemp("demo")
    folder, attempts = place / "state", place / "attempts"
    can_hide = not why_not_offline()
    running = demo(folder, attempts=attempts if can_hide else None)
    too_long = Timer(SECONDS, running.terminate)
    too_long.start()
    try:
        output = read_until(running, "Ctrl-C ends it")
        assert "Ctrl-C ends it" in output, output[-6000:]
        enter = beside(running.pid, []) if can_hide else []
        pages = {} if why_no_browser() else open_pages(output, place, enter)
        asked = {words: ask(words, folder, enter) for words in commands_of_the_readme()}
        running.send_signal(signal.SIGINT)
        output += running.communicate(timeout=60)[0]
    finally:
        too_long.cancel()
        running.terminate()
        running.communicate()
    return Told(
        folder,
        loads((folder / "summary.json").read_text()),
        output,
        read_attempts(attempts) if can_hide else [],
        pages,
        asked,
    )


def commands_of_the_readme() -> list[str]:
    chapter = (ROOT / "README.md").read_text().partition("## Ask Ratchet")[2]
    return [line for line in chapter.split("```")[1].splitlines() if line.strip()]


def ask(words: str, folder: Path, enter: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command of the README beside the demo; this demo has fewer weeks than the README's."""
    weeks = loads((folder / "summary.json").read_text())["weeks"]
    ends = [week["window_end"] for week in weeks if week["verdict"] != "unchanged"]
    script = f"source {folder}/env; {re.sub(r'--end [0-9-]+', f'--end {ends[-1]}', words)}"
    env = {name: value for name, value in os.environ.items() if name not in UNSET}
    return subprocess.run(
        [*enter, "bash", "-c", script],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def open_pages(output: str, place: Path, enter: Sequence[str]) -> dict[str, Page]:
    printed = PRINTED.search(output)
    assert printed, output
    addresses = {
        name: address.format(**printed.groupdict()) for name, (address, _) in PAGES.items()
    }
    with ThreadPoolExecutor(2) as pool:
        opened = pool.map(
            lambda name: open_page(addresses[name], place / "pages" / name, enter=enter), PAGES
        )
        return dict(zip(PAGES, opened, strict=True))


@pytest.mark.timeout(SECONDS + 300)
class TestTheWholeLoop:
    def test_every_step_came_true_and_nothing_is_left_running(self, told: Told) -> None:
        steps = told.summary["steps"]
        assert [step["outcome"] for step in steps] == ["ok"] * (WEEKS + 7)
        assert "\nending" in told.output  # by the SIGINT that make alone got
        assert left_by(told.folder) == []

    def test_no_program_asked_another_host(self, told: Told) -> None:
        skip_or_fail(why_not_offline())
        assert told.attempts == []

    @pytest.mark.parametrize("name", PAGES)
    def test_every_page_shows_its_content_and_asks_no_other_host(
        self, told: Told, name: str
    ) -> None:
        skip_or_fail(why_no_browser())
        page, words = told.pages[name], PAGES[name][1]
        assert page.elsewhere == ()
        assert words in seen_words(page.dom)

    def test_the_first_week_is_promoted_and_a_week_without_rows_changes_nothing(
        self, told: Told
    ) -> None:
        weeks = told.summary["weeks"]
        assert weeks[0]["kind"] == "first"
        assert weeks[0]["verdict"] == "promote"
        assert weeks[0]["lower"] > 0
        assert weeks[0]["pull_request"] == 1
        assert weeks[-1] == {
            **dict.fromkeys(weeks[-1]),
            "window_end": weeks[-1]["window_end"],
            "verdict": "unchanged",
        }

    def test_every_verdict_is_what_the_days_figures_say_by_the_policy(self, told: Told) -> None:
        gate = flight_policy()
        judged = list(recorded(told.folder / "mlflow", "flight-delay"))
        assert {rule(evidence, gate) for _, evidence in judged} == {"promote", "keep"}, (
            "choose other weeks"
        )
        for verdict, evidence in judged:
            improvement = verdict["comparisons"][0]["improvement"]
            bounds = [improvement[name] for name in ("lower", "estimate", "upper")]
            assert bounds == pytest.approx(interval(days_of(evidence), improvement["confidence"]))
            said, deciding = rule(evidence, gate), verdict["reasons"][0]
            blocked = deciding["outcome"] == "block" and deciding["rule"] != verdict["kind"]
            assert verdict["outcome"] == ("keep" if blocked else said)

    def test_the_promoted_weeks_and_no_others_have_a_pull_request(self, told: Told) -> None:
        gate = flight_policy()
        said = {
            verdict["challenger"]: rule(evidence, gate)
            for verdict, evidence in recorded(told.folder / "mlflow", "flight-delay")
        }
        trained = [week for week in told.summary["weeks"] if week["version"] is not None]
        assert [week["verdict"] for week in trained] == [said[week["version"]] for week in trained]
        assert [week["pull_request"] is not None for week in trained] == [
            said[week["version"]] == "promote" for week in trained
        ]

    def test_no_request_failed_during_a_rollout_and_both_versions_answered(
        self, told: Told
    ) -> None:
        requests = told.summary["requests"]
        assert requests["sent"] > 100
        assert requests["failed"] == 0
        assert len(requests["by_version"]) >= 2
        assert sum(requests["by_version"].values()) == requests["sent"]

    def test_who_served_when_is_answered_from_git_after_a_rollback(self, told: Told) -> None:
        first, _, last = told.summary["served_at"]
        assert datetime.fromisoformat(first["at"]) < datetime.fromisoformat(last["at"])
        assert first["version"] == last["version"]  # brought back
        assert first["image_digest"] == last["image_digest"]
        assert first["pull_request"] < last["pull_request"]

    def test_the_second_model_a_regression_is_released_and_answers_minutes(
        self, told: Told
    ) -> None:
        assert "arrival-delay v1: mean absolute error improves by" in told.output
        assert re.search(r"the gateway answers a flight with \{'delay': -?\d+\.\d+\}", told.output)

    def test_every_command_of_ask_ratchet_answers(self, told: Told) -> None:
        expected = {
            "retrain run": (0, "Nothing was trained"),
            "promote status": (0, "flight-delay"),
            "promote explain": (0, "log loss"),
            # The story has gone back already: no challenger waits, and no other release is left.
            "promote judge": (1, "flight-delay has no challenger"),
            "promote rollback": (1, "Asked to go back to an earlier release of flight-delay"),
            "promote served-at": (0, "version 1"),
        }
        found = {" ".join(words.split()[:2]): done for words, done in told.asked.items()}
        said = {
            words: (done.returncode, done.stdout + done.stderr) for words, done in found.items()
        }
        assert found.keys() == expected.keys()
        for words, (code, word) in expected.items():
            assert said[words][0] == code, said
            assert word in said[words][1], said
            assert "Traceback" not in said[words][1]

    def test_the_addresses_and_a_request_to_copy_are_printed(self, told: Told) -> None:
        for word in (
            "Airflow http://127.0.0.1",
            "MLflow http://127.0.0.1",
            "/acme/ratchet/pulls",
            "/promotions",
            "curl -s http://127.0.0.1",
            "Authorization: Bearer",
        ):
            assert word in told.output


@pytest.mark.e2e
def test_a_demo_whose_make_is_interrupted_ends_everything_within_ten_seconds(
    tmp_path: Path,
) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    folders = [tmp_path / number.name for number in numbers]
    demos = [demo(folder) for folder in folders]  # side by side: most of this test is their start
    for running in demos:
        read_until(running, "The first week")  # all servers are up, and a retrain begins
    time.sleep(4)  # into the retrain: its processes must end too
    for number, folder, running in zip(numbers, folders, demos, strict=True):
        began = time.monotonic()
        running.send_signal(number)
        running.communicate(timeout=30)
        assert time.monotonic() - began < 10
        assert left_by(folder) == []


def flight_policy() -> dict[str, Any]:
    """The `gate:` section of the demo's model, shares as numbers."""
    text = (ROOT / "dags" / "models" / "flight-delay.yaml").read_text()
    gate: dict[str, Any] = yaml.safe_load(
        re.sub(r"([\d.]+) %", lambda share: str(float(share[1]) / 100), text)
    )["gate"]
    return gate
