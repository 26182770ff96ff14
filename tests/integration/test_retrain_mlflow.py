"""`retrain run` as a process on real flights: run twice, killed, and without its MLflow server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import onnxruntime
import pytest
import yaml

from infra.local.flights import load_flights
from infra.local.processes import free_port
from retrain.contract import ModelCard, Snapshot, digest_of_bytes

ROOT = Path(__file__).parents[2]
END = "2013-03-11"


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory) -> Path:
    database = tmp_path_factory.mktemp("flights") / "warehouse.duckdb"
    load_flights(database, until=datetime(2013, 3, 11, tzinfo=UTC))
    return database


@pytest.fixture
def environment(warehouse, mlflow_server, tmp_path) -> dict[str, str]:
    """Settings of a model of this test: half the real window and a tenth of its trees."""
    models = tmp_path / "models"
    models.mkdir()
    written = yaml.safe_load((ROOT / "dags/models/flight-delay.yaml").read_text())
    written |= {"name": f"flight-delay-{uuid.uuid4().hex[:8]}", "window": "2 months"}
    written["techniques"]["boosted_trees"]["params"] = {"max_iter": 20}
    (models / "flight-delay.yaml").write_text(yaml.safe_dump(written))
    (models / "flight-delay.sql").write_text((ROOT / "dags/models/flight-delay.sql").read_text())
    return {
        "MODEL": written["name"],
        "RETRAIN_MODELS": str(models),
        "RETRAIN_SOURCES": json.dumps({"warehouse": f"duckdb:///{warehouse}"}),
        "RETRAIN_SNAPSHOTS": str(tmp_path / "snapshots"),
        "RETRAIN_TRACKING_URL": mlflow_server,
        "RETRAIN_LOCK": str(ROOT / "infra/locks/retrain.txt"),
        "RETRAIN_GIT_REVISION": "abc123",
    }


@pytest.fixture
def client(mlflow_server):
    from mlflow import MlflowClient  # noqa: PLC0415 - four seconds, only for those who run these tests

    return MlflowClient(tracking_uri=mlflow_server)


def start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [
        str(Path(sys.executable).with_name("retrain")),
        "run",
        environment["MODEL"],
        "--end",
        END,
        "--json",
        *arguments,
    ]
    return subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill_once(process: subprocess.Popen[str], is_there: Callable[[], bool]) -> None:
    """Kill the process and its children once `is_there` holds. The caller counts the hits."""
    while process.poll() is None and not is_there():
        pass
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def finish(process: subprocess.Popen[str]) -> tuple[int, dict[str, object], str]:
    out, err = process.communicate(timeout=180)
    return process.returncode, json.loads(out.splitlines()[-1]) if out else {}, err


def runs_of(client, model: str, *, parents_only: bool = True):
    experiment = client.get_experiment_by_name(model)
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    return [run for run in runs if not parents_only or "run_identity" in run.data.tags]


def versions_of(client, model: str):
    return client.search_model_versions(f"name = '{model}'")


def test_the_same_week_twice_is_one_run_and_one_version_that_people_and_promote_can_read(
    environment, client, tmp_path
):
    model = environment["MODEL"]
    code, outcome, err = finish(start(environment))
    assert code == 0, err
    assert (outcome["outcome"], outcome["version"]) == ("registered", 1)
    code, again, _ = finish(start(environment))
    assert (code, again["outcome"], again["version"], again["run_id"]) == (
        0,
        "found",
        1,
        outcome["run_id"],
    )

    [version] = versions_of(client, model)
    [parent] = runs_of(client, model)
    assert client.get_model_version_by_alias(model, "challenger").version == version.version
    assert version.run_id == parent.info.run_id == outcome["run_id"]
    assert version.source == f"{parent.info.artifact_uri}/model"
    assert set(version.tags) == {
        "snapshot_id",
        "window_start",
        "window_end",
        "technique",
        "recipe_digest",
        "model_digest",
        "git_revision",
    }
    assert version.tags["window_start"] == "2013-01-11T00:00:00Z"
    assert version.tags["git_revision"] == "abc123"
    assert "log loss" in version.description

    assert parent.info.run_name == f"{model} {END}"
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["mlflow.source.git.commit"] == "abc123"
    assert parent.data.tags["mlflow.source.name"] == f"retrain run {model}"
    assert {"validation_log_loss", "test_log_loss", "test_roc_auc"} <= set(parent.data.metrics)
    children = [
        run
        for run in runs_of(client, model, parents_only=False)
        if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id
    ]
    assert sorted(child.info.run_name for child in children) == [
        f"{model} {END} boosted_trees",
        f"{model} {END} logistic",
    ]
    contexts = {
        tag.value: one.dataset.name for one in parent.inputs.dataset_inputs for tag in one.tags
    }
    assert contexts == {split: f"{model} {split}" for split in ("train", "validation", "test")}

    folder = Path(client.download_artifacts(parent.info.run_id, "", str(tmp_path)))
    card = ModelCard.model_validate_json((folder / "model/model.json").read_bytes())
    assert card.model_digest == version.tags["model_digest"]
    assert digest_of_bytes((folder / "model/model.onnx").read_bytes()) == card.files["model.onnx"]
    assert (
        Snapshot.model_validate_json((folder / "snapshot.json").read_bytes()).snapshot_id
        == version.tags["snapshot_id"]
    )
    session = onnxruntime.InferenceSession(folder / "model/model.onnx")
    assert [one.name for one in session.get_inputs()] == [
        feature.name for feature in card.io.features
    ]
    assert len(list((folder / "pictures").iterdir())) == 4

    from mlflow.models import Model  # noqa: PLC0415 - as above

    signature = Model.load(str(folder / "model")).signature
    assert signature.inputs.input_names() == [feature.name for feature in card.io.features]


@pytest.mark.e2e
@pytest.mark.timeout(600)  # six processes, each of which imports for seconds
def test_killed_at_any_moment_and_run_again_there_is_exactly_one_finished_run_and_one_version(
    environment, client
):
    model = environment["MODEL"]

    def with_status(status: str) -> set[str]:
        return {run.info.run_id for run in runs_of(client, model) if run.info.status == status}

    interrupted: set[str] = set()
    for moment in (
        lambda: any(Path(environment["RETRAIN_SNAPSHOTS"]).rglob("*.parquet")),
        lambda: with_status("RUNNING"),
        lambda: any(client.list_artifacts(run_id) for run_id in with_status("RUNNING")),
        lambda: with_status("FINISHED"),
        lambda: versions_of(client, model),
    ):
        kill_once(start(environment), lambda moment=moment: bool(moment()))
        interrupted |= with_status(
            "RUNNING"
        )  # not what was seen before the kill: a run may have gone on to its end in between
    assert interrupted

    code, outcome, err = finish(start(environment))
    assert code == 0, err
    assert outcome["outcome"] == "found"
    assert with_status("KILLED") == interrupted
    assert len(with_status("FINISHED")) == 1
    assert len(runs_of(client, model)) == len(interrupted) + 1
    [version] = versions_of(client, model)
    assert client.get_model_version_by_alias(model, "challenger").version == version.version
    assert client.get_run(version.run_id).info.status == "FINISHED"


def test_without_mlflow_the_exit_code_says_try_again_and_the_message_says_what_to_do(
    environment, client
):
    nobody = f"http://127.0.0.1:{free_port()}"
    code, outcome, err = finish(start({**environment, "RETRAIN_TRACKING_URL": nobody}))
    assert (code, outcome) == (75, {})
    assert f"MLflow at {nobody} does not answer" in err
    assert "Start MLflow, or set RETRAIN_TRACKING_URL" in err
    assert "Traceback" not in err
    assert versions_of(client, environment["MODEL"]) == []
