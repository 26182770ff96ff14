"""What MlflowRuns does without a server; more is in tests/integration/test_retrain_mlflow.py."""

from __future__ import annotations

import os

import pytest
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.protos.databricks_pb2 import (
    DEADLINE_EXCEEDED,
    ENDPOINT_NOT_FOUND,
    PERMISSION_DENIED,
    RESOURCE_EXHAUSTED,
    TEMPORARILY_UNAVAILABLE,
    UNAUTHENTICATED,
)
from requests import ConnectionError as NoConnection
from requests.exceptions import InvalidURL, SSLError

from retrain.contract import ModelSchema, Output
from retrain.errors import TrackingRefused, TrackingUnavailable
from retrain.fitting.training import Ineligible
from retrain.fitting.window_run import figures
from retrain.runs.mlflow import MlflowRuns
from retrain.runs.mlflow_folder import describe_for_mlflow
from retrain.runs.port import NOTE, VERSION_TAGS
from retrain.runs.record import rows_read, technique_record
from retrain.tasks.binary import BINARY
from tests.fakes.broken import Broken
from tests.grounds.learnable_rows import FEATURES, make_window

URL = "http://127.0.0.1:9"


def caused_by(error: Exception) -> MlflowException:
    """Return what MLflow's client makes of a failed request: it hides the cause in the text."""
    try:
        raise error
    except Exception as cause:  # noqa: BLE001 - as the client does
        try:
            raise MlflowException(f"API request failed with exception {cause}")
        except MlflowException as translated:
            return translated


@pytest.mark.parametrize(
    ("error", "translated"),
    [
        (MlflowException("nobody answers"), TrackingUnavailable),
        (MlflowException("busy", TEMPORARILY_UNAVAILABLE), TrackingUnavailable),
        (NoConnection("reset"), TrackingUnavailable),
        (MlflowException("slower", RESOURCE_EXHAUSTED), TrackingUnavailable),
        (MlflowException("a proxy waited too long", DEADLINE_EXCEEDED), TrackingUnavailable),
        (MlflowException("not yours", PERMISSION_DENIED), TrackingRefused),
        (MlflowException("who are you", UNAUTHENTICATED), TrackingRefused),
        (MlflowException("no such thing", ENDPOINT_NOT_FOUND), TrackingUnavailable),
        (caused_by(SSLError("certificate verify failed")), TrackingRefused),
        (caused_by(InvalidURL("no host")), TrackingRefused),
        (caused_by(NoConnection("connection refused")), TrackingUnavailable),
    ],
)
def test_mlflows_errors_become_ours_and_only_an_outage_is_worth_another_try(error, translated):
    tracking = MlflowRuns(URL, "flight-delay")
    tracking._client = Broken(error)
    for ask in (
        tracking.check,
        tracking.champion_technique,
        lambda: tracking.finished_run("x"),
        lambda: tracking.registered("r"),
    ):
        with pytest.raises(translated, match=URL):
            ask()
    assert translated.is_transient is (translated is TrackingUnavailable)


def test_an_outage_is_an_error_within_a_minute():
    assert int(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]) <= 3
    assert int(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]) <= 30


def test_the_versions_tags_are_those_that_promote_reads():
    assert VERSION_TAGS == (
        "snapshot_id",
        "window_start",
        "window_end",
        "technique",
        "recipe_digest",
        "model_digest",
        "git_revision",
    )


def test_mlflow_sees_the_models_signature_and_an_example(tmp_path):
    io = ModelSchema(features=FEATURES, outputs=(Output(name="probability"),))
    describe_for_mlflow(
        tmp_path,
        io,
        {"carrier": "UA", "distance": 719.0, "weekday": 1, "holiday": False, "wind_speed": None},
    )
    read = Model.load(str(tmp_path))
    assert read.signature.inputs.input_names() == [feature.name for feature in FEATURES]
    assert read.signature.inputs.optional_input_names() == ["wind_speed"]
    assert (tmp_path / "input_example.json").exists()


def test_a_technique_that_is_not_eligible_says_so_in_its_note():
    record = technique_record(
        make_window(), Ineligible("logistic", "it did not converge", 0.5), ended_ms=10_000
    )
    assert (record.name, record.problem, record.started_ms) == (
        "flight-delay 2013-05-07 logistic",
        "it did not converge",
        9_500,
    )
    assert record.tags[NOTE] == "Not eligible: it did not converge"


def test_the_three_splits_are_datasets_with_names_of_their_own():
    read = list(rows_read(make_window()))
    assert [(rows.name, rows.context) for rows in read] == [
        (f"flight-delay {split}", split) for split in ("train", "validation", "test")
    ]
    assert len({rows.digest for rows in read}) == 3
    assert all(len(rows.digest) <= 36 for rows in read)  # MLflow's limit


def test_validation_and_test_figures_have_the_same_names_but_for_the_split():
    names = [
        {
            name.removeprefix(f"{split}_")
            for name in figures(split, [1, 0, 1], [0.7, 0.2, 0.4], BINARY.metrics)
        }
        for split in ("validation", "test")
    ]
    assert names[0] == names[1] >= {"log_loss", "roc_auc"}
