"""`retrain run`: what goes to stdout, what to stderr, and the exit codes."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from retrain import cli
from retrain.contract import digest_of_bytes
from retrain.errors import (
    OneClassLabel,
    PartitionMissing,
    RetrainError,
    StoreUnavailable,
    TrackingRefused,
    TrackingUnavailable,
    WindowTooEmpty,
)
from retrain.outcome import RunOutcome
from tests.fakes.runs import FakeRuns
from tests.grounds.learnable_rows import make_spec

REGISTERED = RunOutcome(
    model="flight-delay",
    window_end=datetime(2013, 7, 8, tzinfo=UTC),
    outcome="registered",
    version=8,
    run_id="abc",
    technique="boosted_trees",
    model_digest=digest_of_bytes(b"model"),
    snapshot_id=digest_of_bytes(b"snapshot"),
    seconds=12.5,
    notes=("logistic is not eligible: it did not converge",),
)


@pytest.fixture
def invoke(monkeypatch):
    """Call the command with a workflow that answers or raises; return its arguments too."""
    asked = {}

    def run(answer, *arguments: str):
        def run_window(spec, **options):
            asked.update(options, model=spec.name)
            options["progress"]("fitting")
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr("retrain.commands.run.run_window", run_window)
        monkeypatch.setattr("retrain.commands.run.open_runs", lambda *_: FakeRuns())
        monkeypatch.setattr(
            "retrain.commands.run.load_model", lambda _, model: make_spec(name=model)
        )
        return CliRunner().invoke(
            cli.app, ["run", "flight-delay", "--end", "2013-07-08", *arguments]
        ), asked

    return run


def test_people_get_progress_on_stderr_and_a_sentence_on_stdout(invoke):
    result, asked = invoke(REGISTERED)
    assert result.exit_code == 0
    assert result.stdout == f"{REGISTERED.sentence}\n"
    assert result.stderr.splitlines() == ["fitting", REGISTERED.notes[0]]
    assert asked["end"] == datetime(2013, 7, 8, tzinfo=UTC)
    assert asked["register"] is True


def test_an_end_in_another_time_zone_is_the_same_moment_in_utc(invoke):
    _, asked = invoke(REGISTERED, "--end", "2013-07-08T02:00:00+02:00")
    assert asked["end"] == datetime(2013, 7, 8, tzinfo=UTC)


@pytest.mark.parametrize("end", ["2999-01-01", "9999-12-31T23:59:59+00:00"])
def test_a_window_that_ends_in_the_future_is_refused_before_anything_is_read(invoke, end):
    result, asked = invoke(REGISTERED, "--end", end)
    assert result.exit_code == 2
    assert "is in the future" in result.stderr
    assert asked == {}
    planned = CliRunner().invoke(cli.app, ["plan", "flight-delay", "--end", end])
    assert (planned.exit_code, planned.stdout) == (2, "")
    assert "is in the future" in planned.stderr


@pytest.mark.parametrize("end", ["0001-01-01", "1969-12-31", "0001-01-01T00:00:00+14:00"])
def test_an_end_before_1970_is_a_slip_of_the_pen_not_a_traceback(invoke, end):
    result, asked = invoke(REGISTERED, "--end", end)
    assert result.exit_code == 2
    assert "--end must be" in result.stderr
    assert asked == {}


def test_the_outcome_is_also_written_to_a_file_whatever_the_run_prints(invoke, tmp_path):
    path = tmp_path / "outcome.json"
    result, _ = invoke(REGISTERED, "--outcome", str(path))
    assert result.exit_code == 0
    assert RunOutcome.model_validate_json(path.read_text()) == REGISTERED
    assert result.stdout == f"{REGISTERED.sentence}\n"


def test_a_run_that_fails_writes_no_outcome(invoke, tmp_path):
    result, _ = invoke(
        OneClassLabel("all rows are late"), "--outcome", str(tmp_path / "outcome.json")
    )
    assert result.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_an_outcome_file_that_cannot_be_written_is_said(invoke, tmp_path):
    result, _ = invoke(REGISTERED, "--outcome", str(tmp_path / "nowhere" / "outcome.json"))
    assert result.exit_code == 75
    assert "outcome.json cannot be written" in result.stderr
    assert "Traceback" not in result.stderr


def test_scripts_get_the_outcome_as_the_last_line_of_stdout(invoke):
    result, _ = invoke(REGISTERED, "--json")
    assert RunOutcome.model_validate_json(result.stdout.splitlines()[-1]) == REGISTERED
    assert json.loads(result.stdout)["version"] == 8


def test_sample_and_no_register_are_handed_on(invoke):
    _, asked = invoke(
        REGISTERED, "--sample", "10000", "--no-register", "--reason", "a late file came"
    )
    assert (asked["sample"], asked["register"], asked["reason"]) == (
        10_000,
        False,
        "a late file came",
    )


def test_an_unchanged_window_exits_99_and_still_answers(invoke):
    unchanged = REGISTERED.model_copy(
        update={"outcome": "unchanged", "run_id": None, "technique": None, "model_digest": None}
    )
    result, _ = invoke(unchanged, "--json")
    assert result.exit_code == 99
    assert json.loads(result.stdout)["outcome"] == "unchanged"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TrackingUnavailable("MLflow does not answer"), 75),
        (StoreUnavailable("the disk is full"), 75),
        (OneClassLabel("all rows are late"), 1),
        (WindowTooEmpty("no rows in the window"), 1),
        (PartitionMissing("the snapshot names a file that is not there"), 1),
        (TrackingRefused("MLflow refuses the password"), 1),
    ],
)
def test_an_error_is_a_sentence_and_75_only_when_another_try_may_help(invoke, error, code):
    result, _ = invoke(error, "--json")
    assert result.exit_code == code
    assert str(error) in result.stderr
    assert result.stdout == ""


def test_only_what_did_not_answer_is_worth_another_try():
    def below(kind: type[RetrainError]) -> set[type[RetrainError]]:
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    transient = {error.__name__ for error in below(RetrainError) if error.is_transient}
    assert transient == {"SourceUnavailable", "StoreUnavailable", "TrackingUnavailable"}
