"""infra/aws/cluster and a retraining's pod before a real kube-apiserver.

The API server accepts them under its restricted rules. Airflow may start pods and do no more.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.grounds.apiserver import ApiServer, running
from tests.unit.aws.test_production_doc import CLUSTER, filled
from tests.unit.dags.test_retrain_pods import IMAGE, parse

AIRFLOW = "system:serviceaccount:airflow:airflow"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running() as started:
        for path in CLUSTER:
            applied = tmp_path_factory.mktemp("filled") / path.name
            applied.write_text(filled(path))
            done = started.kubectl("apply", "--validate=strict", "-f", str(applied))
            assert done.stderr == "", "a warning of Pod Security would stand here"
        yield started


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found = parse(
        tmp_path_factory.mktemp("dags"), RATCHET_TASKS="kubernetes", RATCHET_RETRAIN_IMAGE=IMAGE
    )
    manifest: dict[str, Any] = found["manifest"]
    return manifest


def refusal(server: ApiServer, pod: dict[str, Any]) -> str:
    return server.kubectl(
        "create", "--dry-run=server", "--validate=strict", "-f", "-", objects=[pod], check=False
    ).stderr


def weakened(pod: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The pod with one line of its security taken away, each in turn."""
    for holder, lines in (
        ("spec", ("runAsNonRoot", "seccompProfile")),
        ("container", ("allowPrivilegeEscalation", "capabilities")),
    ):
        for line in lines:
            changed = copy.deepcopy(pod)
            where = changed["spec"] if holder == "spec" else changed["spec"]["containers"][-1]
            del where["securityContext"][line]
            yield line, changed


def test_the_pod_that_airflow_asks_for_is_let_in_and_a_weaker_one_is_not(
    server: ApiServer, pod: dict[str, Any]
) -> None:
    assert refusal(server, pod) == ""
    for line, changed in weakened(pod):
        assert "violates PodSecurity" in refusal(server, changed), line


@pytest.mark.parametrize("name", ["mlflow", "airflow"])
def test_the_pods_of_a_deployment_are_let_in_and_weaker_ones_are_not(
    server: ApiServer, name: str
) -> None:
    deployment = json.loads(
        server.kubectl("get", "deployment", name, "-n", name, "-o", "json").stdout
    )
    one = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one", "namespace": name},
        "spec": deployment["spec"]["template"]["spec"],
    }
    assert refusal(server, one) == ""
    for line, changed in weakened(one):
        assert "violates PodSecurity" in refusal(server, changed), line


@pytest.mark.parametrize(
    ("verb", "what", "namespace", "answer"),
    [
        ("create", "pods", "retrain", "yes"),
        ("delete", "pods", "retrain", "yes"),
        ("get", "pods/log", "retrain", "yes"),
        ("create", "pods/exec", "retrain", "yes"),
        ("create", "pods", "models", "no"),
        ("create", "pods", "airflow", "no"),
        ("get", "secrets", "retrain", "no"),
        ("get", "configmaps", "retrain", "no"),
        ("create", "serviceaccounts/token", "retrain", "no"),
        ("patch", "networkpolicies.networking.k8s.io", "retrain", "no"),
    ],
)
def test_airflow_may_start_pods_in_one_namespace_and_nothing_else(
    server: ApiServer, verb: str, what: str, namespace: str, answer: str
) -> None:
    asked = server.kubectl(
        "auth", "can-i", verb, what, "-n", namespace, "--as", AIRFLOW, check=False
    )
    assert asked.stdout.strip() == answer


def test_a_field_that_does_not_exist_is_refused(server: ApiServer, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    text = filled(CLUSTER[0])
    path.write_text(text.replace("enableServiceLinks", "enableServiceLink"))
    assert (
        server.kubectl(
            "apply", "--dry-run=server", "--validate=strict", "-f", str(path), check=False
        ).returncode
        != 0
    )
