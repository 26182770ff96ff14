"""What the cluster says about itself: Kubernetes-shaped Deployments. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.local.cluster.rollout import Replica, Rollout

NAMESPACE = "models"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"


def pages(
    rollouts: Mapping[str, Rollout],
    *,
    revision: str | None,
    problems: Mapping[str, str],
    now: float,
) -> dict[str, dict[str, Any]]:
    """Return every answer of the cluster by path; what is not in it is a 404."""
    deployments = {rollout.wanted.name: deployment(rollout, now) for rollout in rollouts.values()}
    listed = {
        "kind": "DeploymentList",
        "apiVersion": "apps/v1",
        "metadata": {},
        "items": list(deployments.values()),
    }
    return {
        "/": {
            "revision": revision,
            "problems": dict(problems),
            "models": {model: _summary(rollout, now) for model, rollout in rollouts.items()},
        },
        DEPLOYMENTS: listed,
        **{f"{DEPLOYMENTS}/{name}": body for name, body in deployments.items()},
    }


def deployment(rollout: Rollout, now: float) -> dict[str, Any]:
    """Return the Deployment as Kubernetes would show it.

    A server that drains still counts as a replica, because the old release may still answer.
    """
    wanted = rollout.wanted
    new, others = _replicas(rollout)
    available = [replica for replica in new if _is_available(rollout, replica, now)]
    ready = [replica for replica in new + others if replica.is_ready()]
    release = wanted.release
    annotations = {
        "ratchet.internal/model-digest": release.model_digest,
        "ratchet.internal/version": str(release.version),
        "ratchet.internal/verdict": release.verdict_digest,
    }
    labels = {
        "app.kubernetes.io/name": release.model,
        "app.kubernetes.io/version": str(release.version),
    }
    container = {"name": "server", "image": release.image}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": wanted.name,
            "namespace": NAMESPACE,
            "generation": rollout.generation,
            "annotations": annotations,
        },
        "spec": {
            "replicas": wanted.replicas,
            "minReadySeconds": int(rollout.timing.min_ready_seconds),
            "progressDeadlineSeconds": int(rollout.timing.deadline_seconds),
            "selector": {"matchLabels": {"app.kubernetes.io/name": release.model}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
        "status": {
            "observedGeneration": rollout.generation,
            "replicas": sum(1 for replica in new + others if replica.server) + len(rollout.leaving),
            "updatedReplicas": sum(1 for replica in new if replica.server),
            "readyReplicas": len(ready),
            "availableReplicas": len(available)
            + sum(1 for replica in others if _is_available(rollout, replica, now)),
            "conditions": [
                _available(rollout, now),
                _progressing(
                    rollout, done=len(available) == wanted.replicas and not rollout.leaving
                ),
            ],
        },
    }


def not_found(path: str) -> dict[str, Any]:
    """Return the Status that Kubernetes answers for an object it does not have."""
    name = path.rsplit("/", 1)[-1]
    message = f'deployments.apps "{name}" not found'
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": "NotFound",
        "details": {"name": name, "group": "apps", "kind": "deployments"},
        "code": 404,
    }


def _replicas(rollout: Rollout) -> tuple[list[Replica], list[Replica]]:
    """Return the replicas of the wanted release, and those of the one before."""
    serving = rollout.serving.replicas if rollout.serving else []
    coming = rollout.coming.replicas if rollout.coming else []
    return (coming, serving) if rollout.coming else (serving, [])


def _is_available(rollout: Rollout, replica: Replica, now: float) -> bool:
    return (
        replica.ready_since is not None
        and now - replica.ready_since >= rollout.timing.min_ready_seconds
    )


def _available(rollout: Rollout, now: float) -> dict[str, str]:
    serving = rollout.serving.replicas if rollout.serving else []
    if serving and all(_is_available(rollout, replica, now) for replica in serving):
        return {
            "type": "Available",
            "status": "True",
            "reason": "MinimumReplicasAvailable",
            "message": "Deployment has minimum availability.",
        }
    return {
        "type": "Available",
        "status": "False",
        "reason": "MinimumReplicasUnavailable",
        "message": "Deployment does not have minimum availability.",
    }


def _progressing(rollout: Rollout, *, done: bool) -> dict[str, str]:
    name, version = rollout.wanted.name, rollout.wanted.release.version
    if rollout.failure is not None:
        return {
            "type": "Progressing",
            "status": "False",
            "reason": "ProgressDeadlineExceeded",
            "message": rollout.failure,
        }
    if done:
        return {
            "type": "Progressing",
            "status": "True",
            "reason": "NewReplicaSetAvailable",
            "message": f"{name} v{version} has successfully progressed.",
        }
    problem = next(
        (replica.problem for replica in _replicas(rollout)[0] if not replica.is_ready()), ""
    )
    return {
        "type": "Progressing",
        "status": "True",
        "reason": "ReplicaSetUpdated",
        "message": f"{name} v{version} is progressing. {problem}".strip(),
    }


def _summary(rollout: Rollout, now: float) -> dict[str, Any]:
    return {
        "deployment": rollout.wanted.name,
        "wanted_version": rollout.wanted.release.version,
        "serving_version": rollout.serving.workload.release.version if rollout.serving else None,
        "endpoints": rollout.endpoints(),
        "draining": len(rollout.leaving),
        "progressing": _progressing(rollout, done=rollout.coming is None and not rollout.leaving),
        "available": _available(rollout, now)["status"] == "True",
    }
