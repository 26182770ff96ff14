"""What our manifests must and must not say: functions from parsed objects to violations.

Pure: no kustomize, no cluster.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

Object = dict[str, Any]
Rule = Callable[[list[Object]], Iterator[str]]

MAY_HAVE_A_TOKEN = {"promote"}
MAY_READ = {("apps", "deployments", "list"), ("", "pods", "list")}
OWNER = {"app.kubernetes.io/part-of": "ratchet", "app.kubernetes.io/managed-by": "flux"}
MAY_BE_ABSENT = {"PROMOTE_WEBHOOK_SECRET"}
"""Secrets without which a service works: promote then accepts no webhooks."""
_SECRET_KEYS = {"name", "key", "optional"}
SAFE_VOLUMES = {"emptyDir", "configMap", "secret", "projected"}
DNS = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
    "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
}
DNS_PORTS = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]


def _pods(namespace: str, **labels: str) -> Object:
    named = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    return named | (
        {
            "podSelector": {
                "matchLabels": {f"app.kubernetes.io/{key}": value for key, value in labels.items()}
            }
        }
        if labels
        else {}
    )


WEBHOOKS = {"namespaceSelector": {"matchLabels": {"ratchet.internal/webhooks": "true"}}}
"""The namespace of an Ingress controller that passes the forge's webhooks on; none by default."""


def _tcp(port: int) -> list[Object]:
    return [{"port": port, "protocol": "TCP"}]


EDGES: dict[tuple[str, str], Object] = {
    ("models", "servers"): {
        "podSelector": {"matchLabels": {"app.kubernetes.io/component": "server"}},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [_pods("gateway", name="gateway")], "ports": _tcp(3000)}],
    },
    ("gateway", "gateway"): {
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "gateway"}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": _tcp(8080)}],
        "egress": [
            {"to": [_pods("models", component="server")], "ports": _tcp(3000)},
            {"to": [DNS], "ports": DNS_PORTS},
        ],
    },
    ("promote", "promote"): {
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "promote"}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [_pods("airflow"), WEBHOOKS], "ports": _tcp(8080)}],
        "egress": [
            {"to": [_pods("mlflow")], "ports": _tcp(5000)},
            {
                "to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32"]}}],
                "ports": _tcp(443),
            },
            {"to": [DNS], "ports": DNS_PORTS},
        ],
    },
}
"""All that may be reached, and from where; everything else is denied."""


def kind(objects: list[Object], *kinds: str) -> list[Object]:
    """Return the objects of some kinds."""
    return [found for found in objects if found["kind"] in kinds]


def workloads(objects: list[Object]) -> Iterator[tuple[str, Object, Object, Object]]:
    """Yield name, object, pod and container of everything that runs."""
    for found in kind(objects, "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"):
        template = found["spec"].get("template", {}).get("spec", {})
        for container in [
            *template.get("initContainers", []),
            *template.get("containers", []),
            *([] if template.get("containers") else [{}]),
        ]:
            yield f"{found['kind']} {found['metadata']['name']}", found, template, container


def pods_are_restricted(objects: list[Object]) -> Iterator[str]:
    """Kubernetes' restricted Pod Security Standard, and a number for the user."""
    for name, _, pod, container in workloads(objects):
        context = pod.get("securityContext", {})
        if context.get("runAsNonRoot") is not True:
            yield f"{name}: runAsNonRoot is not true"
        if min(context.get("runAsUser", 0), context.get("runAsGroup", 0)) < 10_000:
            yield f"{name}: runAsUser and runAsGroup are no numbers above all users of a host"
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{name}: seccompProfile is not RuntimeDefault"
        if shared := {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & pod.keys():
            yield f"{name}: shares {', '.join(sorted(shared))}"
        expected = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        if container.get("securityContext") != expected:
            yield f"{name}: the container's securityContext is not {expected}"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield f"{name}: a hostPort"


def volumes_are_the_pods_own(objects: list[Object]) -> Iterator[str]:
    """A pod mounts no folder of the node. Each emptyDir has a size limit."""
    for name, _, pod, _ in workloads(objects):
        for volume in pod.get("volumes", []):
            if not (volume.keys() - {"name"}) <= SAFE_VOLUMES:
                yield f"{name}: volume {volume}"
            if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
                yield f"{name}: emptyDir {volume['name']} has no sizeLimit"


def tokens_are_for_who_needs_one(objects: list[Object]) -> Iterator[str]:
    """Every pod has its own account. A pod that asks the API nothing gets no token."""
    accounts = {
        (found["metadata"].get("namespace"), found["metadata"]["name"])
        for found in kind(objects, "ServiceAccount")
    }
    for found in kind(objects, "ServiceAccount"):
        if found.get("automountServiceAccountToken") is not False:
            yield f"ServiceAccount {found['metadata']['name']}: hands out its token unasked"
    for name, found, pod, _ in workloads(objects):
        if pod.get("automountServiceAccountToken") is not (
            found["metadata"]["name"] in MAY_HAVE_A_TOKEN
        ):
            yield f"{name}: automountServiceAccountToken"
        if (found["metadata"].get("namespace"), pod.get("serviceAccountName")) not in accounts:
            yield f"{name}: no ServiceAccount of its own"


def rights_are_read_only(objects: list[Object]) -> Iterator[str]:
    """promote may list Deployments and pods in one namespace, and needs both."""
    for found in kind(objects, "ClusterRole", "ClusterRoleBinding"):
        yield f"{found['kind']} {found['metadata']['name']}: rights over the whole cluster"
    for found in kind(objects, "Role"):
        rights = {right for rule in found["rules"] for right in _rights(rule)}
        for right in sorted(rights - MAY_READ):
            yield f"Role {found['metadata']['name']}: {' '.join(right)} is too much"
        for right in sorted(MAY_READ - rights):
            yield f"Role {found['metadata']['name']}: {' '.join(right)} is missing"
    for found in kind(objects, "RoleBinding"):
        if (
            found["subjects"]
            != [{"kind": "ServiceAccount", "name": "promote", "namespace": "promote"}]
            or found["metadata"]["namespace"] != "models"
        ):
            yield f"RoleBinding {found['metadata']['name']}: for {found['subjects']}"


def _rights(rule: Object) -> Iterator[tuple[str, str, str]]:
    return itertools.product(rule["apiGroups"], rule["resources"], rule["verbs"])


def namespaces_are_restricted_and_closed(objects: list[Object]) -> Iterator[str]:
    """Each namespace refuses pods that are not restricted, and denies traffic without an edge."""
    denied = {
        found["metadata"]["namespace"]
        for found in kind(objects, "NetworkPolicy")
        if _denies_all(found["spec"])
    }
    for found in kind(objects, "Namespace"):
        name, labels = found["metadata"]["name"], found["metadata"].get("labels", {})
        for mode in ("enforce", "audit", "warn"):
            if labels.get(f"pod-security.kubernetes.io/{mode}") != "restricted":
                yield f"Namespace {name}: {mode} is not restricted"
        if name not in denied:
            yield f"Namespace {name}: no policy denies all"


def edges_are_the_needed_ones(objects: list[Object]) -> Iterator[str]:
    """The policies that allow something are exactly EDGES."""
    found = {
        (policy["metadata"]["namespace"], policy["metadata"]["name"]): policy["spec"]
        for policy in kind(objects, "NetworkPolicy")
    }
    for place in sorted(found.keys() | EDGES.keys()):
        if place[1] != "deny" and found.get(place) != EDGES.get(place):
            yield f"NetworkPolicy {'/'.join(place)} is not what EDGES says"


def _denies_all(spec: Object) -> bool:
    return spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def images_are_named_by_digest(objects: list[Object]) -> Iterator[str]:
    """Built manifests name images by digest: a tag may be another image tomorrow."""
    for name, _, _, container in workloads(objects):
        if not re.fullmatch(r"[\w./:-]+@sha256:[0-9a-f]{64}", container.get("image", "")):
            yield f"{name}: image {container.get('image')!r}"


def resources_are_bounded(objects: list[Object]) -> Iterator[str]:
    """Pods request CPU and memory and limit memory. A CPU limit would only slow them down."""
    for name, _, _, container in workloads(objects):
        resources = container.get("resources", {})
        if not {"cpu", "memory"} <= resources.get("requests", {}).keys() or resources.get(
            "limits", {}
        ).keys() != {"memory"}:
            yield f"{name}: resources {resources}"


def ends_lose_no_call(objects: list[Object]) -> Iterator[str]:
    """Pods have all three probes, drain before their end, and keep the reason of their end."""
    for name, found, pod, container in workloads(objects):
        if missing := {"startupProbe", "readinessProbe", "livenessProbe"} - container.keys():
            yield f"{name}: no {', '.join(sorted(missing))}"
        drain = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if not 5 <= drain < pod.get("terminationGracePeriodSeconds", 0) - 10:
            yield f"{name}: drains {drain} s of {pod.get('terminationGracePeriodSeconds')} s"
        if container.get("terminationMessagePolicy") != "FallbackToLogsOnError":
            yield f"{name}: the reason of a crash is lost"
        if (
            found["spec"].get("strategy", {}).get("rollingUpdate", {}).get("maxUnavailable") != 0
            or found["spec"].get("minReadySeconds", 0) < 3
        ):
            yield f"{name}: the old one ends before the new one has proven itself"
        if pod.get("enableServiceLinks") is not False:
            yield f"{name}: Services become settings"


def replicas_are_apart(objects: list[Object]) -> Iterator[str]:
    """Replicas spread over nodes, and a drained node takes only one pod at a time."""
    budgets = [found["spec"] for found in kind(objects, "PodDisruptionBudget")]
    for name, found, pod, _ in workloads(objects):
        if found["spec"].get("replicas", 1) < 2:
            continue
        labels = found["spec"]["template"].get("metadata", {}).get("labels", {}) | found[
            "spec"
        ].get("selector", {}).get("matchLabels", {})
        selected = [
            budget
            for budget in budgets
            if budget["selector"]["matchLabels"].items() <= labels.items()
        ]
        if [budget.get("maxUnavailable") for budget in selected] != [1]:
            yield f"{name}: not exactly one PodDisruptionBudget with maxUnavailable 1"
        spread = pod.get("topologySpreadConstraints", [])
        if not any(
            each["topologyKey"] == "kubernetes.io/hostname"
            and each["labelSelector"]["matchLabels"].items() <= labels.items()
            for each in spread
        ):
            yield f"{name}: nothing spreads its pods over nodes"


def secrets_are_referred_to(objects: list[Object]) -> Iterator[str]:
    """No secret is in git. A variable whose name sounds like a secret comes from a Secret."""
    yield from (
        f"Secret {found['metadata']['name']} is in git" for found in kind(objects, "Secret")
    )
    for name, _, _, container in workloads(objects):
        for variable in container.get("env", []):
            reference = variable.get("valueFrom", {}).get("secretKeyRef", {})
            is_secret = re.search("TOKEN|KEYS|PASSWORD|SECRET", variable["name"])
            if is_secret and not {"name", "key"} <= reference.keys() <= _SECRET_KEYS:
                yield f"{name}: {variable['name']} does not come from a Secret"
            if bool(reference.get("optional")) != (variable["name"] in MAY_BE_ABSENT):
                yield f"{name}: {variable['name']} is optional, or is not and should be"


def both_ends_share_the_token(objects: list[Object]) -> Iterator[str]:
    """Server and gateway share a token: a plain bridge network enforces no NetworkPolicy."""
    carried = {
        variable["name"]: variable.get("valueFrom")
        for _, _, _, container in workloads(objects)
        for variable in container.get("env", [])
    }
    for name in ("SERVING_TOKEN", "CLIENT_API_SERVING_TOKEN"):
        if carried.get(name) != {"secretKeyRef": {"name": "serving-token", "key": "token"}}:
            yield f"{name} is not the Secret serving-token"


def objects_name_their_owner(objects: list[Object]) -> Iterator[str]:
    """Every object says that it is a part of Ratchet. No selector does: selectors cannot change.

    Kubernetes makes the hash of a generated ConfigMap part of its name, not of its labels.
    """
    for found in objects:
        name, labels = found["metadata"]["name"], found["metadata"].get("labels", {})
        if not OWNER.items() <= labels.items():
            yield f"{found['kind']} {name}: the labels are not {OWNER}"
        if any(f"'{key}'" in str(selector) for key in OWNER for selector in _selectors(found)):
            yield f"{found['kind']} {name}: a selector has a label of {OWNER}"
        for key in found["metadata"].get("annotations", {}):
            if key.startswith("ratchet") and not key.startswith("ratchet.internal/"):
                yield f"{found['kind']} {name}: annotation {key} is not below ratchet.internal/"


def _selectors(value: Any) -> Iterator[Any]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        if key in {"selector", "podSelector", "labelSelector", "matchLabels"}:
            yield inner
        elif isinstance(inner, dict | list):
            yield from _selectors(inner)


AS_WRITTEN: tuple[Rule, ...] = (
    pods_are_restricted,
    volumes_are_the_pods_own,
    tokens_are_for_who_needs_one,
    rights_are_read_only,
    namespaces_are_restricted_and_closed,
    edges_are_the_needed_ones,
    resources_are_bounded,
    ends_lose_no_call,
    secrets_are_referred_to,
    both_ends_share_the_token,
)
AS_BUILT: tuple[Rule, ...] = (
    *AS_WRITTEN,
    images_are_named_by_digest,
    replicas_are_apart,
    objects_name_their_owner,
)


def violations(objects: list[Object], rules: tuple[Rule, ...] = AS_BUILT) -> list[str]:
    """Return everything that is wrong, each with its rule."""
    return [f"{rule.__name__}: {found}" for rule in rules for found in rule(objects)]
