"""What the cluster runs: the port, and the rules that read a Deployment's and its pods' JSON. Pure.

kubernetes.py asks the cluster for the JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Json = Mapping[str, Any]

_LONGEST_MESSAGE = 600
_USUAL_WAITS = {None, "ContainerCreating", "PodInitializing"}


@dataclass(frozen=True)
class RolloutStatus:
    """How far the cluster is with one image at the moment of asking."""

    state: Literal["healthy", "progressing", "failed", "absent"]
    """`failed`: the cluster itself gave up. `absent`: the cluster has no Deployment of the model.

    Promote's own deadline is not part of the state. The caller checks it.
    """
    reason: str
    """A sentence for people. For `failed` it contains the cluster's message."""


class Rollout(Protocol):
    """The cluster, read only."""

    def statuses(self, images: Mapping[str, str]) -> dict[str, RolloutStatus]:
        """Return the status of every model's image, from one list of Deployments and one of pods.

        The number of calls does not grow with the number of models (a page has 1,000 objects).
        An image is healthy when its Deployment runs the image, the cluster has processed the
        newest generation, and updated = replicas = available is at least 1.

        Args:
            images: For each model the image in question (repository and digest).

        Raises:
            promote.errors.ClusterUnavailable: The cluster did not answer. Nothing is known.
            promote.errors.ClusterRefused: The cluster refused the credentials or the question.
        """

    def status(self, model: str, image: str) -> RolloutStatus:
        """Return the status of one model's image, as `statuses` does."""


def deployment_name(model: str) -> str:
    """Return the name of a model's Deployment.

    >>> deployment_name("flight-delay")
    'server-flight-delay'
    """
    return f"server-{model}"


def rollout_of(deployment: Json, image: str) -> RolloutStatus:
    """Return what a Deployment's JSON says about an image.

    The counters decide. The conditions only explain, or say that the rollout failed.
    """
    spec, status = deployment.get("spec", {}), deployment.get("status", {})
    containers = spec.get("template", {}).get("spec", {}).get("containers", ())
    images = [container.get("image") for container in containers]
    if image not in images:
        current = ", ".join(map(str, images)) or "no image"
        return RolloutStatus("progressing", f"the Deployment still runs {current}, not {image}")
    generation = deployment.get("metadata", {}).get("generation", 0)
    if status.get("observedGeneration", 0) < generation:
        return RolloutStatus(
            "progressing", "the cluster has not processed the Deployment's newest generation yet"
        )
    replicas, updated, available = (
        status.get(name) or 0 for name in ("replicas", "updatedReplicas", "availableReplicas")
    )
    wanted = spec.get("replicas", 1)
    if updated == replicas == available >= 1:
        return RolloutStatus(
            "healthy", f"{available} of {wanted} replicas run it and are available"
        )
    conditions = {condition.get("type"): condition for condition in status.get("conditions") or ()}
    progressing = conditions.get("Progressing", {})
    if progressing.get("status") == "False":
        return RolloutStatus("failed", _message(progressing))
    refusal = conditions.get("ReplicaFailure", {})
    why = f"; {_message(refusal)}" if refusal.get("status") == "True" else ""
    return RolloutStatus(
        "progressing",
        f"{updated} of {wanted} replicas run it, {available} of {replicas} are available{why}",
    )


def why_pods_wait(pods: Iterable[Json]) -> dict[str, str]:
    """Return for each image why the newest of its pods that has a problem does not serve.

    After a crash the reason is the last line of the log. The kubelet keeps this line in the pod's
    status (terminationMessagePolicy: FallbackToLogsOnError).
    """
    reasons: dict[str, str] = {}
    for pod in sorted(pods, key=_created_at):
        if problem := _problem(pod):
            images = (str(container.get("image")) for container in _list(pod, "spec", "containers"))
            reason = f"Pod {pod.get('metadata', {}).get('name')}: {problem}"
            reasons |= dict.fromkeys(images, reason)
    return reasons


def _created_at(pod: Json) -> str:
    return str((pod.get("metadata") or {}).get("creationTimestamp"))


def _problem(pod: Json) -> str:
    containers = [
        *_list(pod, "status", "initContainerStatuses"),
        *_list(pod, "status", "containerStatuses"),
    ]
    conditions = [
        condition
        for condition in _list(pod, "status", "conditions")
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False"
    ]
    problems = [*map(_problem_of_container, containers), *map(_message, conditions)]
    return next(filter(None, problems), "")


def _problem_of_container(container: Json) -> str:
    state = container.get("state") or {}
    end = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if end:
        lines = str(end.get("message") or "").strip().splitlines() or ["it logged nothing"]
        return (
            f"restarted {container.get('restartCount', 0)} times; it ended last with exit code "
            f"{end.get('exitCode')} ({end.get('reason')}): {lines[-1][:_LONGEST_MESSAGE]}"
        )
    waiting = state.get("waiting") or {}
    if waiting.get("reason") not in _USUAL_WAITS:
        return _message(waiting)
    is_unready = "running" in state and container.get("ready") is False
    return "it runs and is not ready" if is_unready else ""


def _list(pod: Json, part: str, name: str) -> list[Json]:
    return (pod.get(part) or {}).get(name) or []


def _message(condition: Json) -> str:
    message = str(condition.get("message", "no message"))[:_LONGEST_MESSAGE]
    return f"{condition.get('reason', 'failed')}: {message}"
