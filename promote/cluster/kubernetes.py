"""What runs, asked of the Kubernetes API (or of what answers like it) through the official client, which knows kubeconfigs, tokens and their renewal.

A Deployment's counters decide (port.py); while they do not say healthy, the pods of the image say why.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from kubernetes import client, config  # type: ignore[import-untyped]  # the client has no types
from kubernetes.client.exceptions import ApiException  # type: ignore[import-untyped]  # the client has no types
from kubernetes.config.config_exception import ConfigException  # type: ignore[import-untyped]  # the client has no types
from urllib3.exceptions import HTTPError
from yaml import YAMLError

from promote.cluster.port import RolloutStatus, rollout_of, why_pods_wait
from promote.errors import ClusterRefused, ClusterUnavailable
from promote.settings import PromoteSettings

Ask = Callable[..., Any]


class KubernetesRollout:
    """Reads `server-<model>`, and its pods when it is not healthy."""

    def __init__(
        self, url: str, *, namespace: str = "models", timeout_seconds: float = 15.0
    ) -> None:
        """Choose the cluster; nothing is asked yet.

        Args:
            url: As PROMOTE_CLUSTER_URL.
            namespace: Of the model servers.
            timeout_seconds: For one question.

        Raises:
            ClusterRefused: No credentials are where `url` says.
        """
        self._place, self._namespace, self._timeout_seconds = url, namespace, timeout_seconds
        settings = _configuration(url)
        settings.retries = False  # the next pass asks again
        settings.proxy = None  # a cluster is asked directly, whatever HTTP_PROXY says
        self._client = client.ApiClient(settings)
        self._apps, self._core = client.AppsV1Api(self._client), client.CoreV1Api(self._client)

    @classmethod
    def from_settings(cls, settings: PromoteSettings) -> KubernetesRollout:
        """Return the cluster that the settings name."""
        return cls(
            settings.cluster_url,
            namespace=settings.namespace,
            timeout_seconds=settings.request_timeout_seconds,
        )

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def status(self, model: str, image: str) -> RolloutStatus:
        """What the Deployment of a model says about an image, and what its pods say when that is not healthy."""
        name = f"server-{model}"
        try:
            deployment = self._ask(
                f"deployment {name}", self._apps.read_namespaced_deployment, name, self._namespace
            )
        except _NotFound:
            return RolloutStatus("absent", f"the cluster has no Deployment {name} yet")
        found = rollout_of(deployment, image)
        if found.state == "healthy" or not _runs(deployment, image):
            return found
        why = self._why(deployment, image)
        return RolloutStatus(found.state, f"{found.reason}. {why}") if why else found

    def _why(self, deployment: dict[str, Any], image: str) -> str:
        labels = deployment.get("spec", {}).get("selector", {}).get("matchLabels", {})
        if not labels:
            return ""
        selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        try:
            pods = self._ask(
                "pods", self._core.list_namespaced_pod, self._namespace, label_selector=selector
            )
        except (ClusterRefused, ClusterUnavailable, _NotFound):
            return ""  # the reason is for people; the state stands without it
        return why_pods_wait(pods.get("items") or (), image)

    def _ask(self, what: str, ask: Ask, *place: str, **more: str) -> dict[str, Any]:
        asked = f"asked the cluster ({self._place}) for {what} in namespace {self._namespace}"
        try:
            answer = ask(
                *place, **more, _preload_content=False, _request_timeout=self._timeout_seconds
            )
            body = json.loads(answer.data)
        except ApiException as refusal:
            raise _refusal(refusal, asked) from refusal
        except (
            AttributeError
        ) as fault:  # the client trips over its own report of a TLS failure, which has no body
            raise ClusterUnavailable(
                f"{asked}: no trusted connection ({getattr(fault.__context__, 'reason', fault)}). Is PROMOTE_CLUSTER_URL right?"
            ) from fault
        except (
            ValueError
        ) as error:  # not its words: they hold the token, when that is no HTTP header
            raise ClusterUnavailable(
                f"{asked}: no answer that can be read ({type(error).__name__}). Look at PROMOTE_CLUSTER_URL and its credentials."
            ) from None
        except (
            HTTPError,
            ConfigException,
            OSError,
        ) as error:  # a token that is renewed is read from its file
            raise ClusterUnavailable(
                f"{asked}: no answer ({error}). Is it running, and is PROMOTE_CLUSTER_URL right?"
            ) from error
        if not isinstance(body, dict):
            raise ClusterUnavailable(
                f"{asked}: it answered something else than an object. Is PROMOTE_CLUSTER_URL right?"
            )
        return body


class _NotFound(Exception):
    """The API server itself says that there is no such object."""


def _configuration(url: str) -> Any:
    settings = client.Configuration()
    try:
        if url == "in-cluster":
            config.load_incluster_config(client_configuration=settings)
        elif named := re.fullmatch(r"kubeconfig(?::(.+))?", url):
            config.load_kube_config(context=named[1], client_configuration=settings)
        else:
            settings.host = url.rstrip("/")
    except (
        ConfigException,
        OSError,
        TypeError,
        ValueError,
        YAMLError,
    ) as problem:  # TypeError: a kubeconfig that is no mapping
        raise ClusterRefused(
            f"PROMOTE_CLUSTER_URL is {url!r}, and its configuration cannot be used: {problem}"
        ) from problem
    return settings


def _refusal(refusal: ApiException, asked: str) -> Exception:
    try:
        body = json.loads(refusal.body or "{}")
    except ValueError:
        body = {}
    said = body if isinstance(body, dict) else {}
    if refusal.status == 404 and said.get("reason") == "NotFound":
        return _NotFound(asked)
    if refusal.status in {401, 403, 404}:
        message = said.get("message", "no such page")
        return ClusterRefused(
            f"{asked}: it answered {refusal.status}, {message}. Check PROMOTE_CLUSTER_URL and its credentials."
        )
    return ClusterUnavailable(f"{asked}: it answered {refusal.status}. Promote asks again later.")


def _runs(deployment: dict[str, Any], image: str) -> bool:
    containers = (
        deployment.get("spec", {}).get("template", {}).get("spec", {}).get("containers") or ()
    )
    return any(container.get("image") == image for container in containers)
