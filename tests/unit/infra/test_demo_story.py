"""What the demo counts and promises: a promise that is broken ends it, and its summary says so."""

from __future__ import annotations

import json
import subprocess
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.local.demo import second_model
from infra.local.demo.clients import Answer, Clients
from infra.local.demo.story import Story, StoryBroken
from infra.local.demo.summary import Summary
from infra.local.stack.laptop import BIN, Laptop

END = date(2013, 6, 3)
VERDICT = {
    "outcome": "keep",
    "kind": "refresh",
    "comparisons": [
        {"metric": "log_loss", "improvement": {"estimate": -0.01, "lower": -0.02, "upper": -0.001}}
    ],
}


class FakeAirflow:
    """Ends every run at once, as told."""

    def __init__(self) -> None:
        self.state = "success"
        self.states = {"retrain": "success", "promote": "success"}
        self.window_ends: list[str] = []

    def trigger(self, dag: str, *, window_end: str, reason: str) -> str:
        self.window_ends.append(window_end)
        return f"{dag} {reason}"

    def run_state(self, _dag: str, _run: str) -> str:
        return self.state

    def task_states(self, _dag: str, _run: str) -> dict[str, str]:
        return self.states

    def log(self, _dag: str, _run: str, task: str) -> str:
        return f"the last line of {task}"


class FakeLaptop(Laptop):
    """Starts nothing; its promote command answers as told."""

    answers: dict[str, Any]

    def command(self, *words: str) -> str:
        return json.dumps(self.answers[words[1]])


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    laptop = FakeLaptop(tmp_path)
    laptop.airflow = FakeAirflow()
    laptop.answers = {"explain": VERDICT}
    monkeypatch.setattr(
        "infra.local.demo.story.fetch",
        lambda _method, _url: {"version": 2, "pull_request": None, "model_versions": [{}] * 2},
    )
    return Story(laptop, Summary(), END, weeks=2)


def answers(*versions: int | None, asked_at: float = 0) -> list[Answer]:
    return [
        Answer(asked_at, 0.01, 503 if version is None else 200, version, None)
        for version in versions
    ]


def test_a_step_that_fails_is_in_the_summary_as_failed_and_the_steps_before_it_as_they_were(
    tmp_path: Path,
) -> None:
    summary = Summary()
    with summary.step("one"):
        pass
    with pytest.raises(StoryBroken), summary.step("two"):
        raise StoryBroken
    summary.write(tmp_path / "summary.json")
    written = json.loads((tmp_path / "summary.json").read_text())
    assert [(step["name"], step["outcome"]) for step in written["steps"]] == [
        ("one", "ok"),
        ("two", "failed"),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_requests_are_added_up_over_rollouts_by_the_version_that_answered(story: Story) -> None:
    story._count(answers(1, 1, 2), new=2, ended_at=9)
    story._count(answers(2, 3), new=3, ended_at=9)
    assert story.summary.requests == {
        "sent": 5,
        "failed": 0,
        "by_version": {"1": 2, "2": 2, "3": 1},
    }


def test_one_failed_request_is_counted_and_breaks_the_story(story: Story) -> None:
    with pytest.raises(
        StoryBroken, match=r"no request fails during a rollout; statuses Counter\(\{503: 1\}\)"
    ):
        story._count(answers(1, None, 2), new=2, ended_at=9)
    assert story.summary.requests["failed"] == 1
    assert story.summary.requests["sent"] == 3


def test_an_old_version_that_answers_what_was_asked_after_the_rollouts_end_breaks_the_story(
    story: Story,
) -> None:
    now = time.monotonic()
    story._count(answers(1, asked_at=now - 1) + answers(2, asked_at=now + 1), new=2, ended_at=now)
    with pytest.raises(StoryBroken, match="none of the old answers after"):
        story._count(
            answers(1, asked_at=now - 1) + answers(2, 1, asked_at=now + 1), new=2, ended_at=now
        )


def test_a_rollout_in_which_one_version_answers_is_no_rollout(story: Story) -> None:
    with pytest.raises(StoryBroken, match="old and new both answer"):
        story._count(answers(2, 2), new=2, ended_at=9)


def test_a_week_whose_model_is_not_better_is_told_with_its_figures_and_merges_nothing(
    story: Story,
) -> None:
    story._one_week(END)
    [week] = story.summary.weeks
    assert (week.window_end, week.verdict, week.kind, week.version, week.pull_request) == (
        "2013-06-03",
        "keep",
        "refresh",
        2,
        None,
    )
    assert (week.lower, week.improvement, week.upper) == (-0.02, -0.01, -0.001)
    assert story.laptop.airflow.window_ends == ["2013-06-03"]


def test_a_run_of_airflow_that_fails_breaks_the_story_with_the_logs(story: Story) -> None:
    story.laptop.airflow.state = "failed"
    with pytest.raises(
        StoryBroken,
        match=r"(?s)2013-06-03 ended as failed: .*the last line of retrain.*"
        r"the last line of promote",
    ):
        story._one_week(END)


def test_a_quiet_week_must_skip_the_training(story: Story) -> None:
    with pytest.raises(StoryBroken, match="an unchanged window is skipped"):
        story._quiet_week(END)
    story.laptop.airflow.states = {"retrain": "skipped", "promote": "success"}
    story._quiet_week(END)
    assert [(week.verdict, week.version) for week in story.summary.weeks] == [("unchanged", None)]


def test_the_same_week_again_must_not_register_a_second_version(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    story._same_week_again(END)
    counts = iter([2, 3])
    monkeypatch.setattr(
        "infra.local.demo.story.fetch",
        lambda _method, _url: {"model_versions": [{}] * next(counts)},
    )
    with pytest.raises(StoryBroken, match="no second version"):
        story._same_week_again(END)


def test_who_served_is_asked_of_the_first_a_middle_and_the_last_moment_and_must_be_who_was_seen(
    story: Story,
) -> None:
    start = datetime(2013, 6, 3, tzinfo=UTC)
    served = {
        "at": "2013-06-03T00:00:00Z",
        "version": 1,
        "image_digest": "sha256:ab",
        "pull_request": 1,
    }
    story.known = [(start + timedelta(hours=hour), 1) for hour in range(3)]
    story.laptop.answers["served-at"] = {**served, "reason": "a person merged it"}
    story._ask_who_served()
    assert story.summary.served_at == [served] * 3
    story.known[-1] = (story.known[-1][0], 2)
    with pytest.raises(StoryBroken, match="version 2 was seen to answer"):
        story._ask_who_served()


class RolledOut(Clients):
    """Clients that start nothing: half of their requests were answered by the old version."""

    def start(self) -> None:
        self.answers = answers(2, 1)

    def stop(self) -> list[Answer]:
        return self.answers


def test_clients_are_counted_during_the_rollbacks_rollout_too(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull = {"number": 9, "head": {"ref": "ratchet/flight-delay/rollback-1", "sha": "ab"}}
    monkeypatch.setattr("infra.local.demo.story.Clients", RolledOut)
    monkeypatch.setattr("infra.local.demo.story.time.sleep", lambda _seconds: None)
    monkeypatch.setattr(story, "_ask", lambda: (2, None))
    monkeypatch.setattr(story, "_merge_and_watch", lambda *_: None)
    monkeypatch.setattr(story.laptop, "forge_api", lambda *_: [pull], raising=False)
    story.laptop.answers["rollback"] = {}
    now = datetime(2013, 6, 3, tzinfo=UTC)
    story.known = [(now, 1), (now, 2)]
    story._roll_back()
    assert story.summary.requests == {"sent": 2, "failed": 0, "by_version": {"1": 1, "2": 1}}


def test_after_weeks_in_which_one_release_served_there_is_nothing_to_go_back_to(
    story: Story, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make demo ARGS="--weeks 2"`: the second week's model is kept out."""
    story.known = [(datetime(2013, 6, 3, tzinfo=UTC), 1)]
    story._roll_back()
    assert "nothing to go back to" in capsys.readouterr().out
    assert story.summary.steps[-1]["outcome"] == "ok"


def test_a_second_model_that_the_gate_keeps_out_is_told_and_merges_nothing(
    story: Story, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {"version": 1, "verdict": "keep", "reason": "No better than the median."}
    monkeypatch.setattr("infra.local.demo.second_model.fetch", lambda *_: kept)
    second_model.finish(story.laptop, story.laptop.airflow, "a run", {})
    assert "version 1: keep. No better than the median." in capsys.readouterr().out


def test_the_printed_address_of_mlflow_opens_its_pages_for_model_training(
    story: Story, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the parameter MLflow opens its pages for language models."""
    monkeypatch.setattr(FakeAirflow, "url", "http://127.0.0.1:1", raising=False)
    story.laptop.mlflow_url = "http://127.0.0.1:2"
    story.say_addresses()
    address = "MLflow http://127.0.0.1:2/#/experiments?workflowType=machine_learning   "
    assert address in capsys.readouterr().out


def test_the_env_file_gives_a_shell_the_demos_settings_and_only_to_its_owner(
    tmp_path: Path,
) -> None:
    laptop = Laptop(tmp_path, forge_url="http://127.0.0.1:1", mlflow_url="http://127.0.0.1:2")
    path = laptop.write_env()
    assert path == tmp_path / "env"
    assert path.stat().st_mode & 0o077 == 0
    shell = ["bash", "-c", 'source "$0" && command -v promote && env -0', str(path)]
    said = subprocess.run(shell, capture_output=True, text=True, check=True).stdout
    program, _, variables = said.partition("\n")
    assert Path(program) == BIN / "promote"
    given = dict(line.partition("=")[::2] for line in variables.split("\0"))
    expected = {**laptop.promote_env, **laptop.retrain_env}
    assert {name: given[name] for name in expected} == expected
