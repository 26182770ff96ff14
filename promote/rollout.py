"""What runs, as the cluster tells it: a Deployment's JSON read over HTTP, and what it says about one image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import httpx2

from promote.errors import ClusterRefused, ClusterUnavailable
from promote.settings import PromoteSettings


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


class KubernetesRollout:
    """Reads `server-<model>` from the Kubernetes API, or from what answers like it."""

    def __init__(self, url: str, *, namespace: str = "models", timeout_seconds: float = 15.0) -> None:
        self._deployments = f"{url.rstrip('/')}/apis/apps/v1/namespaces/{namespace}/deployments"
        self._client = httpx2.Client(timeout=timeout_seconds, trust_env=False)

    @classmethod
    def from_settings(cls, settings: PromoteSettings) -> KubernetesRollout:
        """Return the cluster that the settings name."""
        return cls(settings.cluster_url, namespace=settings.namespace, timeout_seconds=settings.request_timeout_seconds)

    def status(self, model: str, image: str) -> RolloutStatus:
        """What the Deployment of a model says about an image."""
        url = f"{self._deployments}/server-{model}"
        try:
            answer = self._client.get(url)
            body = answer.json() if answer.content else {}
        except (httpx2.HTTPError, ValueError) as error:
            raise ClusterUnavailable(f"asked the cluster for {url}: no answer ({error}). Is it running, and is PROMOTE_CLUSTER_URL right?") from error
        if answer.status_code == 404 and body.get("reason") == "NotFound":
            return RolloutStatus("absent", f"the cluster has no Deployment server-{model} yet")
        if answer.status_code in {401, 403, 404}:
            said = body.get("message", "no such page")
            raise ClusterRefused(f"asked the cluster for {url}: it answered {answer.status_code}, {said}. Check PROMOTE_CLUSTER_URL and its credentials.")
        if answer.status_code != 200:
            raise ClusterUnavailable(f"asked the cluster for {url}: it answered {answer.status_code}. Promote asks again later.")
        return rollout_of(body, image)


def rollout_of(deployment: Mapping[str, Any], image: str) -> RolloutStatus:
    """Return what a Deployment's JSON says about an image; counters decide, conditions only explain or say that it failed."""
    spec, status = deployment.get("spec", {}), deployment.get("status", {})
    images = [container.get("image") for container in spec.get("template", {}).get("spec", {}).get("containers", ())]
    if image not in images:
        return RolloutStatus("progressing", f"the Deployment still runs {', '.join(map(str, images)) or 'nothing'}, not {image}")
    if status.get("observedGeneration", 0) < deployment.get("metadata", {}).get("generation", 0):
        return RolloutStatus("progressing", "the cluster has not looked at the newest generation yet")
    replicas, updated, available = (status.get(name) or 0 for name in ("replicas", "updatedReplicas", "availableReplicas"))
    wanted = spec.get("replicas", 1)
    if updated == replicas == available >= 1:
        return RolloutStatus("healthy", f"{available} of {wanted} replicas run it and are available")
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Progressing" and condition.get("status") == "False":
            return RolloutStatus("failed", f"{condition.get('reason', 'failed')}: {condition.get('message', 'no message')}")
    return RolloutStatus("progressing", f"{updated} of {wanted} replicas run it, {available} of {replicas} are available")
