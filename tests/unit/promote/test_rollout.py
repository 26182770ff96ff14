"""What a Deployment's JSON says about an image."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from promote.errors import ClusterRefused, ClusterUnavailable
from promote.rollout import KubernetesRollout, rollout_of

IMAGE = "ratchet/flight-delay@sha256:" + "a" * 64


def deployment(**changed: Any) -> dict[str, Any]:
    status = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "conditions": changed.pop("conditions", [])}
    image = changed.pop("image", IMAGE)
    spec = {"replicas": changed.pop("wanted", 2), "template": {"spec": {"containers": [{"name": "server", "image": image}]}}}
    return {"metadata": {"generation": 2}, "spec": spec, "status": status | changed}


FAILED = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "model.onnx is not what model.json says"}]


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (deployment(), "healthy"),
        (deployment(image="another"), "progressing"),
        (deployment(observedGeneration=1), "progressing"),
        (deployment(updatedReplicas=1), "progressing"),
        (deployment(replicas=3), "progressing"),
        (deployment(availableReplicas=1), "progressing"),
        (deployment(availableReplicas=None), "progressing"),
        (deployment(wanted=0, replicas=0, updatedReplicas=0, availableReplicas=0), "progressing"),
        (deployment(availableReplicas=1, conditions=FAILED), "failed"),
        (deployment(conditions=FAILED), "healthy"),
        (deployment(image="another", conditions=FAILED), "progressing"),
        ({}, "progressing"),
    ],
)
def test_counters_decide_and_conditions_only_explain(found: dict[str, Any], state: str) -> None:
    assert rollout_of(found, IMAGE).state == state


def test_a_failure_says_what_the_cluster_said() -> None:
    assert "model.onnx is not what model.json says" in rollout_of(deployment(availableReplicas=0, conditions=FAILED), IMAGE).reason


def answering(status: int, body: Any) -> KubernetesRollout:
    rollout = KubernetesRollout("http://cluster.test/")
    rollout._client = httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(status, json=body)))
    return rollout


def test_only_the_clusters_own_not_found_is_an_absence() -> None:
    assert answering(404, {"kind": "Status", "reason": "NotFound"}).status("flight-delay", IMAGE).state == "absent"
    with pytest.raises(ClusterRefused, match="PROMOTE_CLUSTER_URL"):
        answering(404, {"detail": "Not Found"}).status("flight-delay", IMAGE)


@pytest.mark.parametrize(("status", "error"), [(401, ClusterRefused), (403, ClusterRefused), (500, ClusterUnavailable), (503, ClusterUnavailable)])
def test_a_refusal_and_an_outage_are_told_apart(status: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        answering(status, {"message": "no"}).status("flight-delay", IMAGE)


def test_a_cluster_that_does_not_answer_says_where_it_was_looked_for() -> None:
    def refuse(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    rollout = KubernetesRollout("http://cluster.test")
    rollout._client = httpx2.Client(transport=httpx2.MockTransport(refuse))
    with pytest.raises(ClusterUnavailable, match="deployments/server-flight-delay"):
        rollout.status("flight-delay", IMAGE)
