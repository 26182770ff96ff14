"""One retraining as Airflow starts it in production: with Airflow's own rights, in a pod of its own, with MLflow and S3 over the network.

Namespace, account, settings and rights are infra/aws/cluster/retrain.yaml's; MLflow and the S3 server listen on the node's address in the cluster's network.
"""

from __future__ import annotations

import json
import string
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.images.build import build
from infra.local.airflow import DONE, Airflow, start_airflow, start_migration
from infra.local.demo.web import wait_for
from infra.local.flights import load_flights
from infra.local.kubernetes.cluster import Cluster, start_cluster
from infra.local.kubernetes.state import read_state
from infra.local.mlflow_server import start_mlflow
from infra.local.processes import free_port
from infra.local.s3_server import start_s3
from promote.model_registry import open_model_registry
from tests.kubernetes_ground import push_altered, why_not
from tests.s3_servers import asked_at, make_bucket

pytestmark = [pytest.mark.skipif(bool(why_not()), reason=why_not()), pytest.mark.kubernetes, pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
MODEL = "flight-delay"
DAG = f"retrain-{MODEL}"
WEEK = datetime(2013, 5, 27, tzinfo=UTC)


@dataclass
class Place:
    """Where retraining runs."""

    folder: Path
    cluster: Cluster
    airflow: Airflow
    tracking_url: str
    nudged: list[str] = field(default_factory=list)
    """Paths that the promotion service was sent."""

    def ran(self, window_end: str) -> tuple[str, str]:
        """Trigger a run; return how its retraining ended, and its log."""
        run = self.airflow.trigger(DAG, window_end=window_end, reason="a test's")
        ends = {*DONE, "skipped", "up_for_retry"}
        state = wait_for(
            "the end of retraining", lambda: found if (found := self.airflow.task_states(DAG, run)["retrain"]) in ends else None, timeout_seconds=240
        )
        log = self.airflow.log(DAG, run, "retrain")
        if state != "up_for_retry":
            wait_for("the end of the run", lambda: True if self.airflow.run_state(DAG, run) in DONE else None, timeout_seconds=60)
        return state, log


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("pods")
    with ExitStack() as stack:
        migration = start_migration(folder / "airflow", dags=ROOT / "dags")
        stack.callback(migration.stop)
        cluster = start_cluster(folder / "cluster")
        stack.callback(cluster.stop)
        state = read_state(cluster.folder)
        assert state is not None
        there = {"host": cluster.network.node, "within": ("nsenter", "--target", str(state.room), "--net", "--")}
        s3 = start_s3(folder / "s3", **there)
        stack.callback(s3.program.stop)
        with asked_at(s3.env):
            make_bucket("acme-snapshots")
        mlflow, tracking_url = start_mlflow(folder / "mlflow", free_port(), **there)
        stack.callback(mlflow.stop)
        image = image_with_warehouse(folder, cluster)
        prepare(cluster, tracking_url, dict(s3.env))
        nudged: list[str] = []
        env = {
            "RATCHET_TASKS": "kubernetes",
            "RATCHET_RETRAIN_IMAGE": image,
            "RATCHET_RETRAIN_MEMORY": "3Gi",
            "AIRFLOW_CONN_KUBERNETES_DEFAULT": json.dumps(
                {"conn_type": "kubernetes", "extra": {"kube_config_path": str(kubeconfig_of_airflow(folder, cluster))}}
            ),
        }
        variables = {"promote_url": stack.enter_context(promotion_service(nudged)), "tracking_url": tracking_url}
        airflow = start_airflow(migration, folder / "airflow", dags=ROOT / "dags", variables=variables, env=env)
        stack.callback(airflow.stop)
        airflow.unpause(DAG)
        yield Place(folder, cluster, airflow, tracking_url, nudged)


def image_with_warehouse(folder: Path, cluster: Cluster) -> str:
    """Retrain's image with the DuckDB file where docs/production.md has it."""
    warehouse = folder / "flights.duckdb"
    load_flights(warehouse, until=WEEK, say=lambda _: None)
    warehouse.chmod(0o644)
    return push_altered(build("retrain").local, "retrain-flights", cluster.registry, "copy", "{container}", str(warehouse), "/warehouse/flights.duckdb")


def prepare(cluster: Cluster, tracking_url: str, aws: dict[str, str]) -> None:
    """What docs/production.md applies before the first run; the keys stand for the role that AWS would give the account."""
    text = string.Template((ROOT / "infra/aws/cluster/retrain.yaml").read_text())
    filled = list(yaml.safe_load_all(text.substitute(RETRAIN_ROLE="-", SNAPSHOTS="s3://acme-snapshots/weekly", AWS_REGION=aws["AWS_REGION"])))
    (settings,) = [found for found in filled if found["kind"] == "ConfigMap"]
    settings["data"]["RETRAIN_TRACKING_URL"] = tracking_url
    secret = {"RETRAIN_SOURCES": '{"warehouse": "duckdb:///warehouse/flights.duckdb"}', **aws}
    airflow = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "airflow"}}]
    airflow += [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "airflow", "namespace": "airflow"}}]
    filled += [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "retrain", "namespace": "retrain"}, "stringData": secret}]
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([*airflow, *filled]))


def kubeconfig_of_airflow(folder: Path, cluster: Cluster) -> Path:
    """No more than the account `airflow` may."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [
        {"name": config["contexts"][0]["context"]["user"], "user": {"token": cluster.kubectl("create", "token", "airflow", "--namespace=airflow").strip()}}
    ]
    path = folder / "airflow.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


class Promotes(BaseHTTPRequestHandler):
    """Says of every version that it was judged: which versions it is asked about is all that counts here."""

    nudged: list[str]

    def do_POST(self) -> None:
        self.nudged.append(self.path)
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        content = json.dumps({"state": "kept out", "version": 1, "verdict": "keep", "waiting_for": None}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def promotion_service(nudged: list[str]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Promotes,), {"nudged": nudged}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def pods(place: Place) -> list[Any]:
    return list(json.loads(place.cluster.kubectl("get", "pods", "--namespace=retrain", "--output=json"))["items"])


def test_a_week_is_retrained_in_a_pod_and_its_version_is_asked_about(place: Place) -> None:
    state, log = place.ran("2013-05-27")
    assert state == "success", log
    challenger = open_model_registry(place.tracking_url).challenger(MODEL)
    assert challenger is not None
    assert challenger.version == 1
    assert list((place.folder / "s3/buckets/acme-snapshots/weekly/partitions").iterdir())
    assert place.nudged == [f"/nudge/{MODEL}"]
    assert pods(place) == []


@pytest.mark.parametrize(("window_end", "ends", "says"), [("2013-05-27", "success", "was already there"), ("2013-06-03", "skipped", "no row of the window")])
def test_a_week_that_is_there_or_has_no_new_row_registers_nothing(place: Place, window_end: str, ends: str, says: str) -> None:
    state, log = place.ran(window_end)
    assert state == ends, log
    assert says in log
    challenger = open_model_registry(place.tracking_url).challenger(MODEL)
    assert challenger is not None
    assert challenger.version == 1
    assert pods(place) == []


def test_why_it_failed_is_in_the_log_of_the_task_and_it_is_tried_again(place: Place) -> None:
    state, log = place.ran("2012-01-02")
    assert state == "up_for_retry"
    assert "no rows" in log
