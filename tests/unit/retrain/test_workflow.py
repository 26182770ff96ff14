"""A window becomes one finished run and one version, whatever happens on the way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from retrain.contract import ModelCard, Snapshot, digest_of_bytes
from retrain.errors import (
    LockMissing,
    OneClassLabel,
    StoreUnavailable,
    TrackingUnavailable,
    TrainingError,
    WindowTooEmpty,
)
from retrain.outcome import RunOutcome
from retrain.plan import plan_run
from retrain.runs.port import NOTE
from retrain.settings import Settings
from retrain.spec.technique import Technique
from retrain.wiring import open_source
from retrain.workflow import SEED, run_window
from tests.fakes.runs import FakeRuns, Killed
from tests.grounds.learnable_rows import LOGISTIC, make_rows, make_spec

END = datetime(2013, 7, 8, tzinfo=UTC)
WEEK = timedelta(days=7)
SPEC = make_spec(query_text="select * from flights", techniques={"logistic": LOGISTIC})


def load(settings: Settings, rows: pa.Table) -> None:
    with duckdb.connect(settings.sources["warehouse"].removeprefix("duckdb:///")) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("arrived", rows)
        connection.execute("CREATE TABLE IF NOT EXISTS flights AS SELECT * FROM arrived LIMIT 0")
        connection.execute("INSERT INTO flights SELECT * FROM arrived")


@pytest.fixture
def settings(tmp_path) -> Settings:
    """A warehouse with the 13 weeks before END, an empty store, one worker."""
    (tmp_path / "lock.txt").write_text("scikit-learn==1.9.1")
    made = Settings(
        sources={"warehouse": f"duckdb:///{tmp_path}/warehouse.duckdb"},
        snapshots=str(tmp_path / "snapshots"),
        lock=tmp_path / "lock.txt",
        workers=1,
        git_revision="abc123",
    )
    load(made, make_rows(1820, days=91, first_day=END - 13 * WEEK))
    return made


def run(
    settings: Settings, runs: FakeRuns, *, end: datetime = END, spec=SPEC, **options
) -> RunOutcome:
    source = open_source(settings, spec.source)
    return run_window(spec, end=end, settings=settings, runs=runs, source=source, **options)


def test_a_window_is_recorded_and_registered_as_challenger(settings):
    runs = FakeRuns()
    outcome = run(settings, runs)
    assert (outcome.outcome, outcome.version, outcome.technique) == ("registered", 1, "logistic")
    assert runs.challenger == 1
    [(run_id, parent, children, files)] = runs.runs
    assert outcome.run_id == run_id
    assert parent.name == "flight-delay 2013-07-08"
    assert [child.name for child in children] == ["flight-delay 2013-07-08 logistic"]
    assert {"validation_log_loss", "test_log_loss", "test_roc_auc", "train_rows"} <= set(
        parent.metrics
    )
    card = ModelCard.model_validate_json(files["model/model.json"])
    assert card.model_digest == outcome.model_digest == parent.tags["model_digest"]
    assert digest_of_bytes(files["model/model.onnx"]) == card.files["model.onnx"]
    assert (
        Snapshot.model_validate_json(files["snapshot.json"]).snapshot_id
        == outcome.snapshot_id
        == card.snapshot_id
    )
    assert {
        "pictures/roc.png",
        "pictures/calibration.png",
        "model/MLmodel",
        "model/input_example.json",
    } <= set(files)


def test_a_run_says_which_window_code_seed_and_reason_made_it_and_when(settings):
    runs = FakeRuns()
    run(settings, runs, reason="a late file came")
    [(_, parent, _, _)] = runs.runs
    assert (parent.tags["window_start"], parent.tags["window_end"]) == (
        "2013-04-08T00:00:00Z",
        "2013-07-08T00:00:00Z",
    )
    assert (parent.tags["git_revision"], parent.tags["reason"]) == ("abc123", "a late file came")
    assert parent.params["seed"] == SEED
    assert 0 < parent.ended_ms - parent.started_ms < 300_000


def test_the_technique_that_production_runs_is_held_against_the_others(settings):
    runs = FakeRuns()
    runs.champion = "logistic"
    assert run(settings, runs).notes[0].startswith("logistic stays, as in production")


def test_the_same_week_twice_is_one_run_and_one_version(settings):
    runs = FakeRuns()
    first, second = run(settings, runs), run(settings, runs)
    assert (second.outcome, second.version, second.run_id, second.model_digest) == (
        "found",
        first.version,
        first.run_id,
        first.model_digest,
    )
    assert (len(runs.runs), len(runs.versions)) == (1, 1)


def test_a_later_week_without_new_rows_is_unchanged_and_trains_nothing(settings):
    runs = FakeRuns()
    run(settings, runs)
    later = run(settings, runs, end=END + WEEK)
    assert (later.outcome, later.version, later.run_id) == ("unchanged", 1, None)
    assert (len(runs.runs), len(runs.versions)) == (1, 1)


def test_a_later_week_with_new_rows_is_another_version(settings):
    runs = FakeRuns()
    run(settings, runs)
    load(settings, make_rows(140, days=7, first_day=END, seed=3))
    later = run(settings, runs, end=END + WEEK)
    assert (later.outcome, later.version) == ("registered", 2)
    assert runs.challenger == 2


def test_an_older_week_found_again_does_not_become_the_challenger(settings):
    runs = FakeRuns()
    run(settings, runs)
    load(settings, make_rows(140, days=7, first_day=END, seed=3))
    run(settings, runs, end=END + WEEK)
    run(settings, runs)
    assert runs.challenger == 2


def test_another_plan_library_sample_or_champion_is_another_run(settings):
    runs = FakeRuns()
    run(settings, runs)
    run(
        settings,
        runs,
        spec=make_spec(
            query_text=SPEC.query_text,
            techniques={"logistic": Technique(estimator=LOGISTIC.estimator, params={"C": 0.5})},
        ),
    )
    settings.lock.write_text("scikit-learn==1.9.2")
    run(settings, runs, register=False)
    run(settings, runs, sample=900)
    runs.champion = "logistic"
    run(settings, runs, register=False)
    assert len(runs.runs) == 5


@pytest.mark.parametrize(
    "act", ["check", "champion_technique", "finished_run", "last_snapshot", "record", "register"]
)
def test_killed_before_any_act_and_run_again_there_is_one_run_and_one_version(settings, act):
    runs = FakeRuns()
    runs.killed_before = act
    try:
        run(settings, runs)
    except Killed:
        pass
    again = run(settings, runs)
    assert again.version == 1
    assert (len(runs.runs), len(runs.versions), runs.challenger) == (1, 1, 1)


def test_a_sample_is_recorded_and_never_registered(settings):
    runs = FakeRuns()
    outcome = run(settings, runs, sample=600)
    assert (outcome.outcome, outcome.version, runs.versions) == ("not_registered", None, [])
    assert runs.runs[0][1].metrics["train_rows"] == 600


def test_a_bound_in_the_model_file_samples_trains_registers_and_is_said(settings):
    runs = FakeRuns()
    bounded = SPEC.model_copy(update={"max_training_rows": 600})
    outcome = run(settings, runs, spec=bounded)
    record = runs.runs[0][1]
    assert (outcome.outcome, record.metrics["train_rows"], record.params["sample"]) == (
        "registered",
        600,
        600,
    )
    said = "rained on 600 of 1,660 rows, evenly spaced"
    assert any(said in note for note in outcome.notes)
    assert said in record.tags[NOTE]
    assert record.tags["trained_on"] in said
    assert (bounded.plan_digest, record.tags["plan_digest"]) != (SPEC.plan_digest,) * 2


def test_a_bound_that_the_rows_do_not_reach_changes_no_row(settings):
    runs = FakeRuns()
    run(settings, runs, spec=SPEC.model_copy(update={"max_training_rows": 1_820}))
    record = runs.runs[0][1]
    assert record.params["sample"] == "all rows"
    assert "trained_on" not in record.tags


def test_a_run_has_a_page_about_its_rows_beside_those_of_the_last_one(settings):
    runs = FakeRuns()
    run(settings, runs)
    load(settings, make_rows(140, days=7, first_day=END, seed=4))
    run(settings, runs, end=END + WEEK)
    first, second = (files["rows.html"].decode() for *_, files in runs.runs)
    assert "There is no earlier run" in first
    assert "Compared with" in second


def test_no_rows_stay_in_the_scratch_folder(settings, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    run(settings, FakeRuns())
    assert list(scratch.iterdir()) == []


def test_a_run_that_was_not_registered_can_be_registered_later_without_training(settings):
    runs = FakeRuns()
    looked_at = run(settings, runs, register=False)
    assert (looked_at.outcome, runs.versions) == ("not_registered", [])
    later = run(settings, runs)
    assert (later.outcome, later.version, later.run_id) == ("registered", 1, looked_at.run_id)
    assert len(runs.runs) == 1


def test_with_mlflow_down_nothing_is_read_or_written(settings):
    runs = FakeRuns()
    runs.is_down = True
    with pytest.raises(TrackingUnavailable):
        run(settings, runs)
    assert not Path(settings.snapshots).exists()
    assert runs.runs == []


def test_a_technique_that_fails_is_recorded_with_its_reason_and_the_others_go_on(settings):
    runs = FakeRuns()
    spec = make_spec(
        query_text=SPEC.query_text,
        techniques={
            "bad": Technique(estimator=LOGISTIC.estimator, params={"C": -1}),
            "logistic": LOGISTIC,
        },
    )
    outcome = run(settings, runs, spec=spec)
    assert outcome.technique == "logistic"
    assert "'C' parameter" in runs.runs[0][2][0].problem
    assert any("bad is not eligible" in note for note in outcome.notes)


def test_when_no_technique_may_ship_the_error_says_why(settings):
    spec = make_spec(
        query_text=SPEC.query_text,
        techniques={"bad": Technique(estimator=LOGISTIC.estimator, params={"C": -1})},
    )
    with pytest.raises(
        TrainingError,
        match="no technique of flight-delay may ship: bad is not eligible: InvalidParameterError",
    ):
        run(settings, FakeRuns(), spec=spec)


def test_a_column_that_is_empty_in_the_window_is_dropped_and_said(settings):
    query = "select * replace (null::double as wind_speed) from flights"
    runs = FakeRuns()
    outcome = run(
        settings, runs, spec=make_spec(query_text=query, techniques={"logistic": LOGISTIC})
    )
    assert "wind_speed has no value in the window: the model does not take it" in outcome.notes
    card = ModelCard.model_validate_json(runs.runs[0][3]["model/model.json"])
    assert "wind_speed" not in [feature.name for feature in card.io.features]


def test_an_empty_window_and_a_label_of_one_class_are_said_by_name(settings):
    with pytest.raises(WindowTooEmpty, match="no rows in the window"):
        run(settings, FakeRuns(), end=END - 30 * WEEK)
    with pytest.raises(OneClassLabel, match="train rows have late = True"):
        run(
            settings,
            FakeRuns(),
            spec=make_spec(
                query_text="select * replace (true as late) from flights",
                techniques={"logistic": LOGISTIC},
            ),
        )


def test_weeks_without_rows_at_the_windows_end_are_said_to_people_and_in_mlflow(settings):
    runs = FakeRuns()
    outcome = run(settings, runs, end=END + 3 * WEEK)
    sentence = (
        "the window holds no rows in 2013-W28, 2013-W29, 2013-W30, its last weeks:"
        " see whether the source is behind"
    )
    assert outcome.notes[0] == sentence
    parent = runs.runs[0][1]
    assert parent.tags["weeks_without_rows"] == "2013-W28, 2013-W29, 2013-W30"
    assert sentence[4:] in parent.tags[NOTE]


def test_an_unchanged_window_says_so_too_when_the_source_is_behind(settings):
    runs = FakeRuns()
    run(settings, runs)
    assert run(settings, runs).notes == ()
    later = run(settings, runs, end=END + WEEK)
    assert later.outcome == "unchanged"
    assert later.notes == (
        "the window holds no rows in 2013-W28, its last weeks: see whether the source is behind",
    )


def test_a_plan_says_which_last_weeks_held_no_rows_when_they_were_read(settings):
    assert plan_run(SPEC, END, settings.snapshots).weeks_without_rows == ()
    run(settings, FakeRuns(), end=END + WEEK)
    planned = plan_run(SPEC, END + 2 * WEEK, settings.snapshots)
    assert planned.weeks_without_rows == ("2013-W28",)
    assert "2013-W28 held no rows" in planned.as_text()
    assert plan_run(SPEC, END, settings.snapshots).weeks_without_rows == ()


def test_a_window_whose_rows_all_came_says_nothing_of_it(settings):
    runs = FakeRuns()
    run(settings, runs)
    assert "weeks_without_rows" not in runs.runs[0][1].tags


def test_a_lock_that_is_not_there_is_named(settings):
    settings.lock.unlink()
    with pytest.raises(LockMissing, match=r"RETRAIN_LOCK names .*lock\.txt"):
        run(settings, FakeRuns())


def test_a_full_disk_is_said_with_the_path_and_nothing_is_recorded(settings, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "/tmp/ratchet-x/model/model.onnx")

    monkeypatch.setattr("retrain.runs.artifacts.write_folder", full)
    runs = FakeRuns()
    with pytest.raises(
        StoreUnavailable,
        match=r"/tmp/ratchet-x/model/model.onnx cannot be written \(No space left on device\)",
    ):
        run(settings, runs)
    assert runs.runs == []


def test_an_outcome_is_a_sentence_for_people_and_json_for_scripts(settings):
    outcome = run(settings, FakeRuns())
    assert (
        "version 1 (logistic) is registered as challenger for the window before 2013-07-08"
        in outcome.sentence
    )
    assert RunOutcome.model_validate_json(outcome.model_dump_json()) == outcome
