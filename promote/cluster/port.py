"""What runs: what a Deployment's and its pods' JSON say about one image. kubernetes.py asks for them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

_LONGEST_LINE = 600


@dataclass(frozen=True)
class RolloutStatus:
    """How far the cluster is with one image, at the moment of asking."""

    state: Literal["healthy", "progressing", "failed", "absent"]
    """`failed` is the cluster's own word; `absent` is no Deployment at all. The deadline is not known here."""
    reason: str
    """A sentence for people; for `failed` it carries the cluster's message."""


class Rollout(Protocol):
    """The cluster, read only."""

    def status(self, model: str, image: str) -> RolloutStatus:
        """What the Deployment of a model says about an image (repository and digest).

        Healthy: its template runs the image, the generation is observed, and updated = replicas = available are at least 1.

        Raises:
            promote.errors.ClusterUnavailable: It did not answer: nothing is known.
            promote.errors.ClusterRefused: It refused the credentials or the question.
        """


def rollout_of(deployment: Mapping[str, Any], image: str) -> RolloutStatus:
    """Return what a Deployment's JSON says about an image; counters decide, conditions only explain or say that it failed."""
    spec, status = deployment.get("spec", {}), deployment.get("status", {})
    images = [
        container.get("image")
        for container in spec.get("template", {}).get("spec", {}).get("containers", ())
    ]
    if image not in images:
        return RolloutStatus(
            "progressing",
            f"the Deployment still runs {', '.join(map(str, images)) or 'nothing'}, not {image}",
        )
    if status.get("observedGeneration", 0) < deployment.get("metadata", {}).get("generation", 0):
        return RolloutStatus(
            "progressing", "the cluster has not looked at the newest generation yet"
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
        return RolloutStatus("failed", _said(progressing))
    refused = conditions.get("ReplicaFailure", {})
    why = f"; {_said(refused)}" if refused.get("status") == "True" else ""
    return RolloutStatus(
        "progressing",
        f"{updated} of {wanted} replicas run it, {available} of {replicas} are available{why}",
    )


def why_pods_wait(pods: Iterable[Mapping[str, Any]], image: str) -> str:
    """Return why the newest troubled pod of an image does not serve; empty when none says so.

    A crash is told by the last line of the log, which the kubelet keeps in a pod's status (terminationMessagePolicy FallbackToLogsOnError).
    """
    own = [
        pod
        for pod in pods
        if any(container.get("image") == image for container in _at(pod, "spec", "containers"))
    ]
    for pod in sorted(
        own, key=lambda pod: str(pod.get("metadata", {}).get("creationTimestamp")), reverse=True
    ):
        if why := _trouble(pod):
            return f"Pod {pod.get('metadata', {}).get('name')}: {why}"
    return ""


def _trouble(pod: Mapping[str, Any]) -> str:
    containers = [
        *_at(pod, "status", "initContainerStatuses"),
        *_at(pod, "status", "containerStatuses"),
    ]
    conditions = [
        condition
        for condition in _at(pod, "status", "conditions")
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False"
    ]
    return next(
        (why for why in [*map(_trouble_of_container, containers), *map(_said, conditions)] if why),
        "",
    )


def _trouble_of_container(container: Mapping[str, Any]) -> str:
    state = container.get("state") or {}
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if ended:
        lines = str(ended.get("message") or "").strip().splitlines() or ["it logged nothing"]
        count = container.get("restartCount", 0)
        return f"restarted {count} times; it ended last with exit code {ended.get('exitCode')} ({ended.get('reason')}): {lines[-1][:_LONGEST_LINE]}"
    waiting = state.get("waiting") or {}
    if waiting.get("reason") not in {None, "ContainerCreating", "PodInitializing"}:
        return _said(waiting)
    return (
        "it runs and is not ready" if "running" in state and container.get("ready") is False else ""
    )


def _at(pod: Mapping[str, Any], part: str, name: str) -> list[Mapping[str, Any]]:
    return (pod.get(part) or {}).get(name) or []


def _said(found: Mapping[str, Any]) -> str:
    return f"{found.get('reason', 'failed')}: {str(found.get('message', 'no message'))[:_LONGEST_LINE]}"
