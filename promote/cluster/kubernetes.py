"""What the cluster runs, read from the Kubernetes API or a stand-in with the same API.

The official client reads kubeconfigs and tokens, and renews tokens. The Deployments' counters
decide (port.py). When an image is not healthy, its pods give the reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

# The client has no types.
from kubernetes import client, config  # type: ignore[import-untyped]
from kubernetes.client.exceptions import ApiException  # type: ignore[import-untyped]
from kubernetes.config.config_exception import ConfigException  # type: ignore[import-untyped]
from urllib3.exceptions import HTTPError
from yaml import YAMLError

from promote.cluster.port import RolloutStatus, deployment_name, rollout_of, why_pods_wait
from promote.errors import ClusterRefused, ClusterUnavailable

Ask = Callable[..., Any]

_PAGE_OBJECTS = 1_000
"""Of one answer: 1,000 Deployments are about 5 MB."""


class KubernetesRollout:
    """Lists the Deployments of a namespace, and the pods when a Deployment is not healthy."""

    def __init__(
        self, url: str, *, namespace: str = "models", timeout_seconds: float = 15.0
    ) -> None:
        """Choose the cluster. This sends no request.

        Args:
            url: As PROMOTE_CLUSTER_URL.
            namespace: Of the model servers.
            timeout_seconds: For one request.

        Raises:
            ClusterRefused: `url` leads to no usable credentials.
        """
        self._url, self._namespace, self._timeout_seconds = url, namespace, timeout_seconds
        settings = _configuration(url)
        settings.retries = False  # the next pass asks again
        settings.proxy = None  # connects directly and ignores HTTP_PROXY
        self._client = client.ApiClient(settings)
        self._apps, self._core = client.AppsV1Api(self._client), client.CoreV1Api(self._client)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def statuses(self, images: Mapping[str, str]) -> dict[str, RolloutStatus]:
        """Return the status of every model's image; see the port."""
        if not images:
            return {}
        listed = self._list("DeploymentList", self._apps.list_namespaced_deployment)
        deployments = {each.get("metadata", {}).get("name"): each for each in listed}
        statuses = {
            model: _status(deployments.get(deployment_name(model)), model, image)
            for model, image in images.items()
        }
        if all(status.state in {"healthy", "absent"} for status in statuses.values()):
            return statuses
        reasons = self._reasons()
        return {
            model: _with_reason(status, reasons.get(images[model]))
            for model, status in statuses.items()
        }

    def status(self, model: str, image: str) -> RolloutStatus:
        """Return the status of one model's image; see the port."""
        return self.statuses({model: image})[model]

    def _reasons(self) -> dict[str, str]:
        """Return each image's reason; nothing on a failure, since the state stands without them."""
        try:
            return why_pods_wait(self._list("PodList", self._core.list_namespaced_pod))
        except (ClusterRefused, ClusterUnavailable):
            return {}

    def _list(self, kind: str, ask: Ask) -> list[dict[str, Any]]:
        """Return all objects of a list, page by page.

        Raises:
            ClusterUnavailable: An answer is missing, or is no list of this kind.
            ClusterRefused: The cluster refused the credentials or the question.
        """
        question = f"asked the cluster ({self._url}) for a {kind} of namespace {self._namespace}"
        objects: list[dict[str, Any]] = []
        place: dict[str, str] = {}
        while True:
            page = self._ask(question, ask, place)
            if not isinstance(page, dict) or page.get("kind") != kind or "items" not in page:
                raise ClusterUnavailable(
                    f"{question}: the answer is no {kind}. Is PROMOTE_CLUSTER_URL right?"
                )
            objects += page["items"] or []
            rest = (page.get("metadata") or {}).get("continue")
            if not rest:
                return objects
            place = {"_continue": rest}

    def _ask(self, question: str, ask: Ask, place: Mapping[str, str]) -> Any:
        try:
            answer = ask(
                self._namespace,
                **place,
                limit=_PAGE_OBJECTS,
                _preload_content=False,
                _request_timeout=self._timeout_seconds,
            )
            return json.loads(answer.data)
        except ApiException as refusal:
            raise _refusal(refusal, question) from refusal
        except AttributeError as fault:
            # After a failed TLS handshake the client reads the body of a missing response.
            reason = getattr(fault.__context__, "reason", fault)
            raise ClusterUnavailable(
                f"{question}: no trusted connection ({reason}). Is PROMOTE_CLUSTER_URL right?"
            ) from fault
        except ValueError as error:
            # The text may contain the token: a token that is no valid HTTP header ends here.
            raise ClusterUnavailable(
                f"{question}: the answer is not readable ({type(error).__name__}). "
                "Check PROMOTE_CLUSTER_URL and its credentials."
            ) from None
        except (HTTPError, ConfigException, OSError) as error:  # renewing a token reads its file
            raise ClusterUnavailable(
                f"{question}: no answer ({error}). "
                "Does the cluster run, and is PROMOTE_CLUSTER_URL right?"
            ) from error


def _status(deployment: dict[str, Any] | None, model: str, image: str) -> RolloutStatus:
    if deployment is None:
        return RolloutStatus("absent", f"the cluster has no Deployment {deployment_name(model)}")
    return rollout_of(deployment, image)


def _with_reason(status: RolloutStatus, why: str | None) -> RolloutStatus:
    if status.state == "healthy" or why is None:
        return status
    return RolloutStatus(status.state, f"{status.reason}. {why}")


def _configuration(url: str) -> Any:
    settings = client.Configuration()
    try:
        if url == "in-cluster":
            config.load_incluster_config(client_configuration=settings)
        elif kubeconfig := re.fullmatch(r"kubeconfig(?::(.+))?", url):
            config.load_kube_config(context=kubeconfig[1], client_configuration=settings)
        else:
            settings.host = url.rstrip("/")
    except (ConfigException, OSError, TypeError, ValueError, YAMLError) as problem:
        # TypeError: the kubeconfig is no mapping.
        raise ClusterRefused(
            f"PROMOTE_CLUSTER_URL is {url!r}. Its configuration cannot be used: {problem}"
        ) from problem
    return settings


def _refusal(refusal: ApiException, question: str) -> Exception:
    if refusal.status in {401, 403, 404}:
        message = "no such page"
        with suppress(ValueError, TypeError, KeyError):  # the body is no Status of Kubernetes
            message = json.loads(refusal.body)["message"]
        return ClusterRefused(
            f"{question}: the cluster answered {refusal.status}, {message}. "
            "Check PROMOTE_CLUSTER_URL and its credentials."
        )
    return ClusterUnavailable(
        f"{question}: the cluster answered {refusal.status}. Promote asks again later."
    )
