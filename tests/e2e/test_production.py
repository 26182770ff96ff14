"""docs/production.md, followed on a real kubelet, with every program in the pod that it gets there.

Airflow starts retraining with the rights of its own account. promote reads the cluster with its own
account. Flux applies gitops/clusters/production.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from infra.local.demo.clients import Clients
from infra.local.demo.rows import example_rows
from infra.local.stack.laptop import MODEL
from infra.local.stack.web import wait_for
from promote.registry.mlflow import open_model_registry
from tests.grounds.kubernetes_ground import why_not
from tests.grounds.postgres import why_no_postgres
from tests.grounds.production import SNAPSHOTS, Production, open_production

_WHY_NOT = why_not() or why_no_postgres()
pytestmark = [
    pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT),
    pytest.mark.kubernetes,
    pytest.mark.timeout(1200),
]
WEEK = datetime(2013, 5, 27, tzinfo=UTC)


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    with ExitStack() as stack:
        opened = open_production(tmp_path_factory.mktemp("production"), stack)
        opened.begin(until=WEEK)
        yield opened


def wait_until_no_pod_is_left(production: Production) -> None:
    def look() -> bool | None:
        pods = json.loads(
            production.cluster.kubectl("get", "pods", "--namespace=retrain", "--output=json")
        )["items"]
        return None if pods else True

    wait_for("the end of retrain's pods", look, timeout_seconds=60)


def test_a_week_is_retrained_in_a_pod_and_judged_by_a_pod(production: Production) -> None:
    state, log = production.ran("2013-05-27")
    assert state == "success", log
    challenger = open_model_registry(production.tracking_url).challenger(MODEL)
    assert challenger is not None
    assert challenger.version == 1
    assert list((production.folder / "s3/buckets" / SNAPSHOTS / "weekly/partitions").iterdir())
    wait_until_no_pod_is_left(production)
    status = production.promote("status", MODEL)
    assert status.startswith(f"{MODEL} in production\n")
    assert "state     v1 " in status
    assert "the constant" in production.promote("explain", MODEL, "1")


@pytest.mark.parametrize(
    ("window_end", "ends", "says"),
    [
        ("2013-05-27", "success", "was already there"),
        ("2013-06-03", "skipped", "no row of the window"),
    ],
)
def test_a_week_that_is_there_or_has_no_new_row_registers_nothing(
    production: Production, window_end: str, ends: str, says: str
) -> None:
    state, log = production.ran(window_end)
    assert state == ends, log
    assert says in log
    challenger = open_model_registry(production.tracking_url).challenger(MODEL)
    assert challenger is not None
    assert challenger.version == 1
    wait_until_no_pod_is_left(production)


def test_why_it_failed_is_in_the_log_of_the_task_and_a_window_without_rows_is_not_tried_again(
    production: Production,
) -> None:
    state, log = production.ran("2012-01-02")
    assert state == "failed"
    assert "no rows" in log


def test_a_merged_pull_request_is_served_through_the_gateway(production: Production) -> None:
    [pull] = wait_for(
        "the pull request",
        lambda: production.forge_api("GET", "/pulls?state=open") or None,
        timeout_seconds=60,
    )
    assert pull["title"].startswith(f"{MODEL} v1: ")
    ask = f"/commits/{pull['head']['sha']}/statuses"
    wait_for(
        "the gate's status",
        lambda: (
            True
            if [status["state"] for status in production.forge_api("GET", ask)] == ["success"]
            else None
        ),
    )
    production.forge_api(
        "PUT",
        f"/pulls/{pull['number']}/merge",
        {"merge_method": "squash", "sha": pull["head"]["sha"]},
    )
    registry = open_model_registry(production.tracking_url)
    wait_for("the champion", lambda: registry.champion(MODEL), timeout_seconds=300)
    gateway = production.forward("gateway", "service/gateway", 80, "/readyz")
    secret = json.loads(
        production.cluster.kubectl("-n", "gateway", "get", "secret", "client-keys", "--output=json")
    )
    key = base64.b64decode(secret["data"]["keys"]).decode()
    phone = Clients(
        f"{gateway}/v1/models/{MODEL}:predict",
        key,
        example_rows(production.checkout / "build/flights.duckdb", before=WEEK.date()),
        per_second=10,
    )
    phone.start()
    wait_for(
        "twenty answers", lambda: True if len(phone.answers) >= 20 else None, timeout_seconds=30
    )
    assert {(answer.status, answer.version) for answer in phone.stop()} == {(200, 1)}
