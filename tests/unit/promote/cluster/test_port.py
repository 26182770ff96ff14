"""What a Deployment's JSON says about an image."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import urllib3
import yaml

from promote.cluster.kubernetes import KubernetesRollout
from promote.cluster.port import rollout_of, why_pods_wait
from promote.errors import ClusterRefused, ClusterUnavailable

IMAGE = "ratchet/flight-delay@sha256:" + "a" * 64


DEPLOYMENTS = "GET /apis/apps/v1/namespaces/models/deployments?limit=1000"
PODS = "GET /api/v1/namespaces/models/pods?limit=1000"


def deployment(model: str = "flight-delay", **changed: Any) -> dict[str, Any]:
    status = {
        "observedGeneration": 2,
        "replicas": 2,
        "updatedReplicas": 2,
        "availableReplicas": 2,
        "conditions": changed.pop("conditions", []),
    }
    image = changed.pop("image", IMAGE)
    spec = {
        "replicas": changed.pop("wanted", 2),
        "template": {"spec": {"containers": [{"name": "server", "image": image}]}},
    }
    metadata = {"name": f"server-{model}", "generation": 2}
    return {"metadata": metadata, "spec": spec, "status": status | changed}


FAILED = [
    {
        "type": "Progressing",
        "status": "False",
        "reason": "ProgressDeadlineExceeded",
        "message": "model.onnx is not what model.json says",
    }
]


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
    assert (
        "model.onnx is not what model.json says"
        in rollout_of(deployment(availableReplicas=0, conditions=FAILED), IMAGE).reason
    )


class Cluster:
    """Stands in for urllib3's pool: answers page after page, and keeps requests."""

    def __init__(self, *answers: tuple[int, Any] | Exception) -> None:
        self.answers, self.asked, self.headers = list(answers), [], {}

    def request(self, method: str, url: str, **more: Any) -> urllib3.HTTPResponse:
        query = f"?{urlencode(more['fields'])}" if more.get("fields") else ""
        self.asked.append(f"{method} {url.removeprefix('http://cluster.test')}{query}")
        self.headers = more["headers"]
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        status, body = answer
        return urllib3.HTTPResponse(
            BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode()),
            status=status,
            preload_content=False,
        )

    def clear(self) -> None:
        """As a pool is closed."""


def answering(*answers: tuple[int, Any] | Exception) -> tuple[KubernetesRollout, Cluster]:
    rollout, cluster = KubernetesRollout("http://cluster.test/"), Cluster(*answers)
    rollout._client.rest_client.pool_manager = cluster
    return rollout, cluster


def status(*answers: tuple[int, Any] | Exception) -> Any:
    return answering(*answers)[0].status("flight-delay", IMAGE)


def deployments(*items: dict[str, Any], **metadata: Any) -> tuple[int, Any]:
    """A page of Deployments; without items the cluster runs nothing."""
    return 200, {"kind": "DeploymentList", "metadata": metadata, "items": list(items)}


def pods(*items: dict[str, Any]) -> tuple[int, Any]:
    return 200, {"kind": "PodList", "metadata": {}, "items": list(items)}


def test_only_a_list_without_the_deployment_is_an_absence() -> None:
    assert status(deployments()).state == "absent"
    assert status((200, {"kind": "DeploymentList", "items": None})).state == "absent"
    for other in ({"reason": "NotFound"}, b"404 page not found\n", b'["NotFound"]'):
        with pytest.raises(ClusterRefused, match="PROMOTE_CLUSTER_URL"):
            status((404, other))
    for other in ({"items": []}, {"kind": "PodList", "items": []}, {"kind": "DeploymentList"}):
        with pytest.raises(ClusterUnavailable, match="the answer is no DeploymentList"):
            status((200, other))


def test_all_models_need_one_list_of_deployments_and_one_of_pods() -> None:
    images = {f"model-{number}": f"ratchet/model-{number}@sha256:{number}" for number in range(50)}
    rollout, cluster = answering(
        deployments(
            *(deployment(name, image=image) for name, image in images.items()),
            deployment("waits", image="ratchet/waits@1", availableReplicas=1),
            deployment("fails", image="ratchet/fails@1", availableReplicas=1, conditions=FAILED),
        ),
        pods(pod(CRASHED, image="ratchet/fails@1"), pod(NO_IMAGE, image="ratchet/waits@1")),
    )
    images |= {"waits": "ratchet/waits@1", "fails": "ratchet/fails@1", "new": "ratchet/new@1"}
    statuses = rollout.statuses(images)
    assert statuses.keys() == images.keys()
    states = {name: found.state for name, found in statuses.items()}
    others = {"waits": "progressing", "fails": "failed", "new": "absent"}
    assert states == dict.fromkeys(images, "healthy") | others
    assert "ErrImagePull" in statuses["waits"].reason
    assert "ModelAltered" in statuses["fails"].reason
    assert cluster.asked == [DEPLOYMENTS, PODS]


def test_no_model_needs_no_list() -> None:
    rollout, cluster = answering(deployments())
    assert rollout.statuses({}) == {}
    assert cluster.asked == []


def test_a_list_of_several_pages_is_read_to_its_end() -> None:
    first = deployments(deployment("another"), **{"continue": "next"})
    rollout, cluster = answering(first, deployments(deployment()))
    assert rollout.status("flight-delay", IMAGE).state == "healthy"
    assert cluster.asked == [DEPLOYMENTS, f"{DEPLOYMENTS.replace('?', '?continue=next&')}"]


def test_a_list_that_breaks_off_is_no_observation() -> None:
    rollout, _ = answering(deployments(**{"continue": "next"}), (410, {"reason": "Expired"}))
    with pytest.raises(ClusterUnavailable, match="410"):
        rollout.status("flight-delay", IMAGE)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (401, ClusterRefused),
        (403, ClusterRefused),
        (429, ClusterUnavailable),
        (500, ClusterUnavailable),
        (503, ClusterUnavailable),
    ],
)
def test_a_refusal_and_an_outage_are_told_apart(code: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        status((code, {"message": "no"}))


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>"),
        (200, b""),
        (200, b"[]"),
        (200, b'"'),
        urllib3.exceptions.ProtocolError("cut"),
        ConnectionResetError("cut"),
    ],
)
def test_what_is_no_answer_of_kubernetes_is_no_observation(answer: Any) -> None:
    with pytest.raises(
        ClusterUnavailable,
        match=r"cluster \(http://cluster.test/\) for a DeploymentList of namespace models",
    ):
        status(answer)


def pod(
    container: dict[str, Any],
    *,
    image: str = IMAGE,
    created: str = "2026-01-01T00:00:00Z",
    name: str = "one",
    **more: Any,
) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "creationTimestamp": created},
        "spec": {"containers": [{"name": "server", "image": image}]},
        "status": {"containerStatuses": [container], **more},
    }


LOG = "Traceback\nModelAltered: /model/model.onnx is sha256:1 and sha256:2 was released\n"
CRASHED = {
    "restartCount": 3,
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": LOG}},
}
NO_IMAGE = {
    "state": {"waiting": {"reason": "ErrImagePull", "message": "not found: manifest unknown"}},
    "lastState": {},
}


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (
            pod(CRASHED),
            "Pod one: restarted 3 times; it ended last with exit code 1 (Error):"
            " ModelAltered: /model/model.onnx is sha256:1 and sha256:2 was released",
        ),
        (
            pod(
                {
                    "state": {"running": {}},
                    "ready": True,
                    "restartCount": 1,
                    "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                }
            ),
            "OOMKilled",
        ),
        (
            pod({"state": {"terminated": {"exitCode": 1, "reason": "Error", "message": ""}}}),
            "it logged nothing",
        ),
        (pod(NO_IMAGE), "Pod one: ErrImagePull: not found: manifest unknown"),
        (
            pod(
                {
                    "state": {
                        "waiting": {
                            "reason": "CreateContainerConfigError",
                            "message": 'secret "serving-token" not found',
                        }
                    }
                }
            ),
            "serving-token",
        ),
        (pod({"state": {"running": {}}, "ready": False}), "Pod one: it runs and is not ready"),
        (
            pod(
                {},
                conditions=[
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/1 nodes: Insufficient cpu",
                    }
                ],
            ),
            "Insufficient cpu",
        ),
        (pod({"state": {"waiting": {"reason": "ContainerCreating"}}}), ""),
        (pod({"state": {"running": {}}, "ready": True}), ""),
        ({}, ""),
        ({"metadata": None, "spec": None, "status": None}, ""),
    ],
)
def test_the_reason_is_the_pods_own(found: dict[str, Any], says: str) -> None:
    reasons = why_pods_wait([found])
    assert list(reasons) == ([IMAGE] if says else [])
    assert says in reasons.get(IMAGE, "")


def test_the_pods_of_another_image_give_no_reason() -> None:
    assert list(why_pods_wait([pod(CRASHED, image="another")])) == ["another"]
    waits = deployment(availableReplicas=1)
    assert "Pod" not in status(deployments(waits), pods(pod(CRASHED, image="another"))).reason
    no_containers = {"metadata": None, "spec": None, "status": None}
    assert "Pod" not in status(deployments(waits), pods(no_containers)).reason


def test_of_several_pods_the_newest_that_is_in_trouble_is_told() -> None:
    pods = [
        pod(NO_IMAGE, name="old"),
        pod(CRASHED, name="new", created="2026-01-02T00:00:00Z"),
        pod({"state": {"running": {}}, "ready": True}, name="newest", created="2027"),
    ]
    assert why_pods_wait(pods)[IMAGE].startswith("Pod new: ")


def test_a_log_line_without_end_does_not_fill_a_commit_status() -> None:
    endless = {
        "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": "x" * 100_000}}
    }
    assert len(why_pods_wait([pod(endless)])[IMAGE]) < 1000


def test_the_reason_of_what_is_not_healthy_is_its_pods() -> None:
    rollout, cluster = answering(deployments(deployment(availableReplicas=1)), pods(pod(CRASHED)))
    found = rollout.status("flight-delay", IMAGE)
    assert found.state == "progressing"
    why = why_pods_wait([pod(CRASHED)])[IMAGE]
    assert found.reason == f"2 of 2 replicas run it, 1 of 2 are available. {why}"
    assert cluster.asked == [DEPLOYMENTS, PODS]


def test_pods_are_not_listed_while_everything_is_healthy_or_absent() -> None:
    for page in (deployments(deployment()), deployments()):
        rollout, cluster = answering(page)
        rollout.status("flight-delay", IMAGE)
        assert cluster.asked == [DEPLOYMENTS]


@pytest.mark.parametrize(
    "refusal",
    [
        (403, {"message": "no"}),
        (404, {"reason": "NotFound"}),
        (500, {}),
        (200, {"items": None}),
        (200, {"kind": "PodList", "items": None}),
        (200, b"<html>"),
    ],
)
def test_without_the_pods_the_state_stands(refusal: Any) -> None:
    found = deployment(availableReplicas=1, conditions=FAILED)
    assert status(deployments(found), refusal).state == "failed"


def test_a_flapping_pod_is_not_healthy_while_down_and_what_cannot_be_created_is_said() -> None:
    failure = {
        "type": "ReplicaFailure",
        "status": "True",
        "reason": "FailedCreate",
        "message": "violates PodSecurity restricted",
    }
    assert (
        "violates PodSecurity restricted"
        in rollout_of(
            deployment(availableReplicas=0, replicas=0, updatedReplicas=0, conditions=[failure]),
            IMAGE,
        ).reason
    )


# Where the credentials come from


def kubeconfig(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str | None = None) -> None:
    user = {"name": "u", "user": {"token": "of-the-user"}}
    clusters = [
        {"name": name, "cluster": {"server": f"http://{name}.test"}} for name in ("one", "two")
    ]
    contexts = [
        {"name": name, "context": {"cluster": name, "user": "u"}} for name in ("one", "two")
    ]
    made = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": clusters,
        "users": [user],
        "contexts": contexts,
        "current-context": "one",
    }
    (folder / "config").write_text(yaml.safe_dump(made) if text is None else text)
    monkeypatch.setattr(
        "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(folder / "config")
    )  # KUBECONFIG, read at import


@pytest.mark.parametrize(
    ("url", "host"), [("kubeconfig", "http://one.test"), ("kubeconfig:two", "http://two.test")]
)
def test_a_kubeconfig_gives_the_address_and_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, host: str
) -> None:
    kubeconfig(tmp_path, monkeypatch)
    rollout, cluster = KubernetesRollout(url), Cluster(deployments())
    rollout._client.rest_client.pool_manager = cluster
    assert rollout.status("flight-delay", IMAGE).state == "absent"
    assert cluster.asked == [DEPLOYMENTS.replace("GET ", f"GET {host}")]
    assert cluster.headers["authorization"] == "Bearer of-the-user"


def test_a_plain_address_is_asked_without_credentials() -> None:
    rollout, cluster = answering(deployments())
    rollout.status("flight-delay", IMAGE)
    assert "authorization" not in {name.lower() for name in cluster.headers}


@pytest.mark.parametrize("text", ["", "{", "[]", "kind: Config\n", "- a\n- b\n"])
def test_a_kubeconfig_that_cannot_be_used_is_said_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    kubeconfig(tmp_path, monkeypatch, text)
    with pytest.raises(ClusterRefused, match="PROMOTE_CLUSTER_URL is 'kubeconfig'"):
        KubernetesRollout("kubeconfig")


def test_an_unknown_context_and_a_pod_that_is_none_are_said_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig(tmp_path, monkeypatch)
    with pytest.raises(ClusterRefused, match="three"):
        KubernetesRollout("kubeconfig:three")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ClusterRefused, match="in-cluster"):
        KubernetesRollout("in-cluster")
