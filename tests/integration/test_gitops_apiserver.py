"""Every object of gitops/ before a real kube-apiserver with Flux's CRDs.

The API server accepts the objects under its restricted rules. Their rights only read.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.grounds.apiserver import ApiServer, running
from tests.grounds.manifest_rules import Object, kind
from tests.grounds.manifests import (
    ENVIRONMENTS,
    applied_by_cluster,
    kustomize,
    overlays,
    tree_with_model,
)

NOTIFICATIONS = {"Provider", "Alert", "Receiver"}
"""Kinds of notification-controller, whose CRDs are on no Go module proxy.

Another test checks their fields.
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with running() as started:
        started.kubectl("create", "namespace", "flux-system")
        yield started


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree_with_model(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def platform(server: ApiServer, tree: Path) -> ApiServer:
    """The server, with namespaces and policies applied: what everything else depends on."""
    server.kubectl("apply", "-f", "-", objects=kustomize(tree / "gitops/platform"))
    return server


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_object_is_accepted(
    platform: ApiServer, tree: Path, environment: str, tmp_path: Path
) -> None:
    built = [found for overlay in overlays(environment) for found in kustomize(tree / overlay)]
    flux = [
        found
        for found in applied_by_cluster(tree, environment, tmp_path / "cluster")
        if found["kind"] not in NOTIFICATIONS
    ]
    assert len(flux) >= 5
    done = platform.kubectl(
        "apply", "--dry-run=server", "--validate=strict", "-f", "-", objects=[*built, *flux]
    )
    assert done.stderr == ""  # a warning of Pod Security would stand here
    assert len(done.stdout.splitlines()) == len(built) + len(flux)


def test_a_field_that_does_not_exist_is_refused(platform: ApiServer, tree: Path) -> None:
    built = kustomize(tree / overlays("production")[-1])
    kind(built, "Deployment")[0]["spec"]["minReadySecond"] = 3
    assert (
        platform.kubectl(
            "apply", "--dry-run=server", "--validate=strict", "-f", "-", objects=built, check=False
        ).returncode
        != 0
    )


@pytest.mark.parametrize("deployment", ["server-flight-delay", "gateway", "promote"])
def test_pods_are_restricted_and_one_line_less_is_refused(
    platform: ApiServer, tree: Path, deployment: str
) -> None:
    built = [found for overlay in overlays("production") for found in kustomize(tree / overlay)]
    (found,) = [
        found for found in kind(built, "Deployment") if found["metadata"]["name"] == deployment
    ]
    accounts = [
        account
        for account in kind(built, "ServiceAccount")
        if account["metadata"]["namespace"] == found["metadata"]["namespace"]
    ]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one", "namespace": found["metadata"]["namespace"]},
        "spec": found["spec"]["template"]["spec"],
    }
    platform.kubectl("apply", "-f", "-", objects=accounts)
    assert creates(platform, pod) == ""
    for where, line in (
        ("pod", "runAsNonRoot"),
        ("pod", "seccompProfile"),
        ("container", "allowPrivilegeEscalation"),
        ("container", "capabilities"),
    ):
        changed = copy.deepcopy(pod)
        holder = changed["spec"] if where == "pod" else changed["spec"]["containers"][0]
        del holder["securityContext"][line]
        assert "violates PodSecurity" in creates(platform, changed), line


def creates(server: ApiServer, pod: Object) -> str:
    return server.kubectl(
        "create", "--dry-run=server", "-f", "-", objects=[pod], check=False
    ).stderr


def test_promote_may_list_deployments_and_pods_and_nothing_else(
    platform: ApiServer, tree: Path
) -> None:
    platform.kubectl(
        "apply",
        "-f",
        "-",
        objects=kind(
            kustomize(tree / "gitops/platform/production"), "ServiceAccount", "Role", "RoleBinding"
        ),
    )
    done = platform.kubectl(
        "auth",
        "can-i",
        "--list",
        "--no-headers",
        "-n",
        "models",
        "--as",
        "system:serviceaccount:promote:promote",
    )
    rights = {
        line.split()[0]: line.split("[")[-1].rstrip("]").split()
        for line in done.stdout.splitlines()
        if not line.startswith(" ")
    }
    own = {name: verbs for name, verbs in rights.items() if not name.startswith(("self", "["))}
    assert own == {"deployments.apps": ["list"], "pods": ["list"]}
    asked = platform.kubectl(
        "auth",
        "can-i",
        "get",
        "secrets",
        "-n",
        "promote",
        "--as",
        "system:serviceaccount:promote:promote",
        check=False,
    )
    assert asked.stdout.strip() == "no"


def test_notifications_name_what_is_there(tree: Path) -> None:

    provider, alert, receiver = yaml.safe_load_all(
        (tree / "gitops/clusters/production/notifications.yaml").read_text()
    )
    assert alert["spec"]["providerRef"] == {"name": provider["metadata"]["name"]}
    assert provider["spec"]["type"] == receiver["spec"]["type"] == "github"
    assert receiver["spec"]["resources"] == [
        {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "name": "ratchet"}
    ]
    assert "secretRef" in provider["spec"]
    assert "secretRef" in receiver["spec"]
