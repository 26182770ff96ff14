"""One turn of the loop with only the database on a disk.

Snapshots and MLflow's artifacts are on S3. promote reads them by their URIs and through MLflow.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import boto3
import duckdb
import pytest

from infra.local.mlflow_server import start_mlflow
from infra.local.processes import free_port
from promote.registry.mlflow import open_model_registry
from promote.registry.port import ModelRegistry, ModelVersion
from retrain.outcome import RunOutcome
from retrain.settings import Settings
from retrain.snapshot.snapshot import read_split
from retrain.spec.model_file import parse_spec
from retrain.wiring import open_runs, open_source
from retrain.workflow import run_window
from tests.fakes.row_source import JUNE, SMALL_MODEL, things
from tests.grounds.s3_servers import asked_at, make_bucket, moto_server, real_s3_server

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1200),  # the real server is built from source once for each version
]
ROOT = Path(__file__).parents[2]
JULY_8 = datetime(2013, 7, 8, tzinfo=UTC)


@pytest.fixture(scope="module", params=["moto", "real S3 server"])
def s3(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with (
        moto_server()
        if request.param == "moto"
        else real_s3_server(tmp_path_factory.mktemp("s3")) as env,
        asked_at(env),
    ):
        make_bucket("acme-snapshots")
        make_bucket("acme-artifacts")
        yield


@pytest.fixture(scope="module")
def tracking_url(s3: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program, url = start_mlflow(
        tmp_path_factory.mktemp("mlflow"), free_port(), artifacts="s3://acme-artifacts/mlflow"
    )
    yield url
    program.stop()


@pytest.fixture(scope="module")
def settings(tracking_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    warehouse = tmp_path_factory.mktemp("warehouse") / "w.duckdb"
    rows = things(JUNE, days=60, rows_per_day=40)
    with duckdb.connect(str(warehouse)) as database:
        database.register("rows", rows)
        database.execute("SET TimeZone='UTC'; CREATE TABLE things AS SELECT * FROM rows")
    return Settings(
        sources={"warehouse": f"duckdb:///{warehouse}"},
        snapshots="s3://acme-snapshots/weekly",
        tracking_url=tracking_url,
        workers=1,
        lock=ROOT / "infra/locks/retrain.txt",
    )


def run_small_model(settings: Settings) -> RunOutcome:
    spec = parse_spec(SMALL_MODEL, path="small.yaml", query_text="SELECT * FROM things")
    return run_window(
        spec,
        end=JULY_8,
        settings=settings,
        runs=open_runs(settings, spec.name),
        source=open_source(settings, spec.source),
    )


@pytest.fixture(scope="module")
def registry(settings: Settings) -> ModelRegistry:
    outcome = run_small_model(settings)
    assert (outcome.outcome, outcome.version) == ("registered", 1)
    return open_model_registry(settings.tracking_url)


@pytest.fixture(scope="module")
def challenger(registry: ModelRegistry) -> ModelVersion:
    found = registry.challenger("small")
    assert found is not None
    return found


def keys(bucket: str) -> list[str]:
    return [
        found["Key"]
        for found in boto3.Session().client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
    ]


def test_partitions_and_artifacts_are_objects(challenger: ModelVersion) -> None:
    assert any(key.startswith("weekly/partitions/2013-W27/") for key in keys("acme-snapshots"))
    names = {key.rpartition("/artifacts/")[2] for key in keys("acme-artifacts")}
    assert {"snapshot.json", "model/model.onnx", "model/model.json"} <= names
    assert all(key.startswith("mlflow/") for key in keys("acme-artifacts"))


def test_promote_reads_the_model_folder_through_mlflow_and_the_rows_by_their_uris(
    registry: ModelRegistry, challenger: ModelVersion, tmp_path: Path
) -> None:
    assert set(registry.download_model_folder(challenger, tmp_path)) == {
        "model.json",
        "model.onnx",
        "about.json",
    }
    snapshot = registry.snapshot(challenger)
    assert all(
        partition.uri.startswith("s3://acme-snapshots/weekly/") for partition in snapshot.partitions
    )
    assert read_split(snapshot, snapshot.test).num_rows == snapshot.test.rows > 0


def test_evidence_is_kept_beside_the_run_and_read_back(
    registry: ModelRegistry, challenger: ModelVersion
) -> None:
    registry.log_evidence(challenger, "v1-first", {"verdict.json": b"{}"})
    assert registry.read_evidence(challenger, "v1-first", "verdict.json") == b"{}"
    assert any(key.endswith("/evidence/v1-first/verdict.json") for key in keys("acme-artifacts"))


def test_a_second_run_finds_the_first_and_writes_no_object(
    settings: Settings, challenger: ModelVersion
) -> None:
    before = keys("acme-snapshots"), keys("acme-artifacts")
    assert run_small_model(settings).outcome == "found"
    assert (keys("acme-snapshots"), keys("acme-artifacts")) == before
