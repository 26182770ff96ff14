"""gitops/ keeps every rule of manifest_rules.py, and every line that a rule is about matters.

Remove or widen such a line, and a rule reports it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from tests.grounds.manifest_rules import AS_WRITTEN, EDGES, Object, violations
from tests.grounds.manifests import written

HELD = {
    "securityContext",
    "automountServiceAccountToken",
    "serviceAccountName",
    "enableServiceLinks",
    "resources",
    "startupProbe",
    "readinessProbe",
    "livenessProbe",
    "lifecycle",
    "terminationMessagePolicy",
    "terminationGracePeriodSeconds",
    "sizeLimit",
    "strategy",
    "minReadySeconds",
    "secretKeyRef",
}
"""Keys whose removal, and that of everything below them, a rule must notice."""
FREE_BELOW = {"startupProbe", "readinessProbe", "livenessProbe"}
"""How a probe asks is tuned freely; that there is one is not."""
Path = tuple[Any, ...]


def held_paths(value: Any, path: Path = (), *, below: bool = False) -> Iterator[Path]:
    """Yield where a removal must be noticed."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        held = below or key in HELD
        if held:
            yield (*path, key)
        if key not in FREE_BELOW:
            yield from held_paths(inner, (*path, key), below=held)


def removals() -> Iterator[Any]:
    for number, found in enumerate(written()):
        whole = {"NetworkPolicy": "spec", "Namespace": "metadata"}.get(found["kind"])
        for path in held_paths(found) if found["kind"] in {"Deployment", "ServiceAccount"} else ():
            if path[-1] != "maxSurge":  # the default would do
                yield pytest.param(
                    number,
                    path,
                    id=f"{found['kind']} {found['metadata']['name']} {'.'.join(map(str, path))}",
                )
        for path in held_paths(found[whole], (whole,), below=True) if whole else ():
            if path[-2:] not in {("metadata", "name"), ("metadata", "labels")}:
                yield pytest.param(
                    number,
                    path,
                    id=f"{found['kind']} {found['metadata']['name']} {'.'.join(map(str, path))}",
                )


def without(objects: list[Object], number: int, path: Path) -> list[Object]:
    changed = copy.deepcopy(objects)
    value: Any = changed[number]
    for step in path[:-1]:
        value = value[step]
    del value[path[-1]]
    return changed


def test_gitops_keeps_every_rule() -> None:
    assert violations(written(), AS_WRITTEN) == []


@pytest.mark.parametrize(("number", "path"), list(removals()))
def test_no_line_that_protects_can_be_taken_out_unnoticed(number: int, path: Path) -> None:
    assert violations(without(written(), number, path), AS_WRITTEN)


def test_enough_lines_are_held_to_mean_something() -> None:
    assert len(list(removals())) > 150


def test_no_object_that_protects_can_be_deleted_unnoticed() -> None:
    for found in written():
        if found["kind"] in {"NetworkPolicy", "ServiceAccount"}:
            assert violations([other for other in written() if other is not found], AS_WRITTEN), (
                found["metadata"]
            )


DEPLOYMENTS = [number for number, found in enumerate(written()) if found["kind"] == "Deployment"]
POD = ("spec", "template", "spec")
CONTAINER = (*POD, "containers", 0)


@pytest.mark.parametrize(
    "number", DEPLOYMENTS, ids=lambda number: written()[number]["metadata"]["name"]
)
@pytest.mark.parametrize(
    ("place", "value"),
    [
        ((*POD, "hostNetwork"), True),
        ((*POD, "hostPID"), True),
        ((*POD, "shareProcessNamespace"), True),
        ((*POD, "securityContext", "runAsUser"), 0),
        ((*POD, "securityContext", "runAsGroup"), 0),
        ((*POD, "securityContext", "runAsNonRoot"), False),
        ((*POD, "securityContext", "seccompProfile"), {"type": "Unconfined"}),
        ((*POD, "volumes", 0), {"name": "tmp", "hostPath": {"path": "/"}}),
        ((*POD, "volumes", 0), {"name": "tmp", "emptyDir": {}}),
        ((*POD, "serviceAccountName"), "default"),
        ((*POD, "initContainers"), [{"name": "before", "image": "x"}]),
        ((*POD, "containers", 1), {"name": "beside", "image": "x"}),
        ((*CONTAINER, "securityContext", "privileged"), True),
        ((*CONTAINER, "securityContext", "allowPrivilegeEscalation"), True),
        ((*CONTAINER, "securityContext", "readOnlyRootFilesystem"), False),
        ((*CONTAINER, "securityContext", "capabilities"), {"drop": ["ALL"], "add": ["NET_RAW"]}),
        ((*CONTAINER, "securityContext", "runAsUser"), 0),
        ((*CONTAINER, "ports", 0), {"containerPort": 1, "hostPort": 1}),
        ((*CONTAINER, "lifecycle", "preStop", "sleep", "seconds"), 29),
        ((*CONTAINER, "lifecycle", "preStop", "sleep", "seconds"), 1),
        (("spec", "strategy", "rollingUpdate", "maxUnavailable"), 1),
        (("spec", "strategy"), {"type": "Recreate"}),
        (("spec", "minReadySeconds"), 0),
        ((*CONTAINER, "env", 0), {"name": "AWS_SECRET_ACCESS_KEY", "value": "x"}),
    ],
    ids=str,
)
def test_nothing_can_be_widened_unnoticed(number: int, place: Path, value: Any) -> None:
    changed = copy.deepcopy(written())
    inner: Any = changed[number]
    for step in place[:-1]:
        inner = inner[step]
    if isinstance(inner, list) and place[-1] == len(inner):
        inner.append(value)
    else:
        inner[place[-1]] = value
    assert violations(changed, AS_WRITTEN)


@pytest.mark.parametrize("name", ["gateway", "server"])
def test_a_token_is_for_promote_alone(name: str) -> None:
    changed = copy.deepcopy(written())
    (found,) = [
        found
        for found in changed
        if found["kind"] == "Deployment" and found["metadata"]["name"] == name
    ]
    found["spec"]["template"]["spec"]["automountServiceAccountToken"] = True
    assert violations(changed, AS_WRITTEN)


@pytest.mark.parametrize(
    "rule",
    [
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"]},
        {"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
    ],
    ids=str,
)
def test_promote_may_list_two_kinds_and_nothing_else(rule: Object) -> None:
    changed = copy.deepcopy(written())
    (role,) = [found for found in changed if found["kind"] == "Role"]
    role["rules"].append(rule)
    assert violations(changed, AS_WRITTEN)


@pytest.mark.parametrize("number", [0, 1], ids=["Deployments", "pods"])
def test_promote_needs_both_lists(number: int) -> None:
    changed = copy.deepcopy(written())
    (role,) = [found for found in changed if found["kind"] == "Role"]
    role["rules"][number]["verbs"] = ["get"]
    assert any("list is missing" in text for text in violations(changed, AS_WRITTEN))
    del role["rules"][number]
    assert any("list is missing" in text for text in violations(changed, AS_WRITTEN))


def test_rights_are_for_promote_in_one_namespace() -> None:
    for change in (
        {"kind": "ClusterRoleBinding"},
        {"kind": "ClusterRole"},
        {"subjects": [{"kind": "Group", "name": "system:authenticated"}]},
    ):
        changed = copy.deepcopy(written())
        (binding,) = [found for found in changed if found["kind"] == "RoleBinding"]
        binding.update(change)
        assert violations(changed, AS_WRITTEN), change


@pytest.mark.parametrize("place", list(EDGES), ids="/".join)
@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_no_edge_can_be_added_unnoticed(place: tuple[str, str], direction: str) -> None:
    changed = copy.deepcopy(written())
    (policy,) = [
        f
        for f in changed
        if f["kind"] == "NetworkPolicy"
        and (f["metadata"]["namespace"], f["metadata"]["name"]) == place
    ]
    policy["spec"][direction] = [*policy["spec"].get(direction, []), {}]
    assert violations(changed, AS_WRITTEN)
    another = {
        "kind": "NetworkPolicy",
        "metadata": {"name": "open", "namespace": place[0]},
        "spec": {"podSelector": {}, direction: [{}]},
    }
    assert violations([*written(), another], AS_WRITTEN)


def test_a_secret_in_git_and_a_namespace_without_policies_are_noticed() -> None:
    assert violations([*written(), {"kind": "Secret", "metadata": {"name": "s"}}], AS_WRITTEN)
    labels = {
        f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")
    }
    assert violations(
        [*written(), {"kind": "Namespace", "metadata": {"name": "n", "labels": labels}}], AS_WRITTEN
    )
