"""What a window's run says to those who compare runs in MLflow."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np

from retrain.contract import ModelAbout, ModelCard, Partition, digest_of_bytes
from retrain.fitting.export import model_card, model_schema
from retrain.fitting.training import Fitted
from retrain.fitting.window_run import WindowRun
from retrain.runs.port import NOTE, Record
from retrain.runs.record import rows_read, technique_record, window_record
from tests.grounds.learnable_rows import FEATURES, make_window

WINDOW = make_window(reason="a late file came", git_revision="abc123", sample=500)
SCORES = np.linspace(0.1, 0.9, 600)
TREES = Fitted("boosted_trees", FEATURES, b"network", SCORES, 2e-7, 1.5)
MEASURED = WINDOW.figures("validation", SCORES) | WINDOW.figures("test", SCORES)


def card_of(window: WindowRun) -> ModelCard:
    return model_card(
        window.spec,
        "boosted_trees",
        window.snapshot.snapshot_id,
        model_schema(FEATURES, window.rows["train"], window.spec.answer),
        b"network",
        about=ModelAbout(),
    )


def recorded(window: WindowRun = WINDOW) -> Record:
    return window_record(
        window,
        card_of(window),
        TREES,
        MEASURED,
        "trees have the best log loss",
        started_ms=1,
        ended_ms=2,
    )


def test_a_runs_tags_say_what_was_trained_on_which_rows_by_which_code_and_why():
    card = card_of(WINDOW)
    assert {name: value for name, value in recorded().tags.items() if name != NOTE} == {
        "mlflow.source.name": "retrain run flight-delay",
        "mlflow.source.git.commit": "abc123",
        "run_identity": WINDOW.identity,
        "plan_digest": WINDOW.spec.plan_digest,
        "snapshot_id": WINDOW.snapshot.snapshot_id,
        "window_start": "2013-04-08T00:00:00Z",
        "window_end": "2013-05-07T00:00:00Z",
        "technique": "boosted_trees",
        "recipe_digest": card.recipe_digest,
        "model_digest": card.model_digest,
        "git_revision": "abc123",
        "reason": "a late file came",
        "trained_on": "500 of 2,600 rows, evenly spaced",
    }
    assert (
        card.recipe_digest == WINDOW.spec.recipe_digest("boosted_trees") != WINDOW.spec.plan_digest
    )


def test_a_runs_parameters_are_what_it_takes_to_fit_the_model_again():
    assert recorded().params == {
        "technique": "boosted_trees",
        "estimator": "sklearn.ensemble.HistGradientBoostingClassifier",
        "max_iter": 10,
        "window_start": "2013-04-08T00:00:00Z",
        "window_end": "2013-05-07T00:00:00Z",
        "seed": 7,
        "sample": 500,
    }
    assert recorded(make_window()).params["sample"] == "all rows"


def test_a_runs_figures_are_its_metrics_its_rows_and_how_exact_its_export_is():
    counts = {"train_rows": 2000, "validation_rows": 600, "test_rows": 600}
    assert recorded().metrics == {
        **MEASURED,
        **counts,
        "onnx_largest_difference": 2e-7,
        "refit_seconds": 1.5,
    }


def test_the_note_tells_the_window_the_figure_on_test_rows_and_why_this_technique():
    figure = f"log loss {MEASURED['test_log_loss']:.4f} on 600 test rows"
    assert recorded().tags[NOTE] == (
        f"boosted_trees on rows of 2013-04-08 to 2013-05-07; {figure}. "
        "Trees have the best log loss. Trained on 500 of 2,600 rows, evenly spaced."
    )


def test_a_technique_that_may_ship_is_recorded_with_its_parameters_and_its_figures_on_validation():
    record = technique_record(WINDOW, TREES, ended_ms=10_000)
    assert record.params == {
        "technique": "boosted_trees",
        "estimator": "sklearn.ensemble.HistGradientBoostingClassifier",
        "max_iter": 10,
        "seed": 7,
    }
    validation = {name: value for name, value in MEASURED.items() if name.startswith("validation_")}
    assert record.metrics == {**validation, "fit_seconds": 1.5, "onnx_largest_difference": 2e-7}
    assert (record.problem, record.started_ms) == (None, 8_500)


def test_each_split_names_its_rows_and_the_partitions_of_its_weeks():
    read = list(rows_read(WINDOW))
    assert [json.loads(rows.profile)["start"] for rows in read] == [
        "2013-04-08T00:00:00Z",
        "2013-04-22T00:00:00Z",
        "2013-04-29T00:00:00Z",
    ]
    assert [json.loads(rows.profile)["num_rows"] for rows in read] == [2000, 600, 600]
    assert [json.loads(rows.source)["partitions"] for rows in read] == [
        ["file:///w15.parquet"],
        [],
        [],
    ]


def test_the_partition_of_the_week_around_new_year_is_found_by_its_iso_year():
    week = Partition(
        week="2014-W01", uri="file:///w01.parquet", rows_digest=digest_of_bytes(b"rows"), rows=9
    )
    days = {"start": datetime(2013, 12, 30, tzinfo=UTC), "end": datetime(2013, 12, 31, tzinfo=UTC)}
    snapshot = WINDOW.snapshot.model_copy(
        update={"partitions": (week,), "train": WINDOW.snapshot.train.model_copy(update=days)}
    )
    train = next(rows_read(make_window(snapshot=snapshot)))
    assert json.loads(train.source)["partitions"] == ["file:///w01.parquet"]
