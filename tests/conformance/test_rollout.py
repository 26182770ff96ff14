"""What promote may believe about a cluster.

It is checked on the fake, on the local cluster over HTTP, and on a real kube-apiserver with the
rights that gitops/ gives promote. On the API server this test plays the Deployment controller and
the kubelet: it writes their status through the status subresource.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest

from infra.local.cluster.api import serve
from infra.local.cluster.controller import Controller
from infra.local.cluster.rollout import Timing
from infra.local.cluster.source import Commit
from promote.cluster.kubernetes import KubernetesRollout
from promote.cluster.port import Rollout
from promote.contract import Release, Slot
from promote.errors import ClusterRefused, ClusterUnavailable
from promote.forge.port import Status
from promote.loop.observation import Observation
from promote.release.history import ReleaseCommit
from promote.release.manifest import first_files, render
from promote.release.slot import release_path
from retrain.contract import digest_of_bytes
from tests.fakes.rollout import FakeRollout
from tests.fakes.servers import FakeStarter
from tests.grounds.apiserver import ApiServer, running
from tests.grounds.manifest_rules import kind
from tests.grounds.manifests import kustomize, tree_with_model

MODEL = "flight-delay"


def release(version: int) -> Release:
    digests = [
        digest_of_bytes(f"{what} {version}".encode()) for what in ("image", "model", "verdict")
    ]
    return Release(
        model=MODEL,
        version=version,
        image=f"ratchet/{MODEL}@{digests[0]}",
        model_digest=digests[1],
        verdict_digest=digests[2],
    )


class World(Protocol):
    """A cluster and how to bring it into a state."""

    rollout: Rollout

    def runs(self, version: int) -> None:
        """Git names the version, and it came up."""

    def gives_up(self, version: int, words: str) -> None:
        """Git names the version, and it did not come up by its deadline."""


class FakeWorld:
    def __init__(self) -> None:
        self.rollout: FakeRollout = FakeRollout()

    def runs(self, version: int) -> None:
        self.rollout.becomes_healthy(MODEL, release(version).image)

    def gives_up(self, version: int, words: str) -> None:
        self.rollout.fails(MODEL, release(version).image, words)


class ClusterWorld:
    """The local cluster's controller and HTTP face; only the server processes are fakes."""

    def __init__(self, folder: Path) -> None:
        self.starter, self.now = FakeStarter(), 0.0
        timing = Timing(min_ready_seconds=3, deadline_seconds=60)
        self.controller = Controller(
            environment="production",
            starter=self.starter,
            timing=timing,
            endpoints=folder / "endpoints.json",
            folder=folder,
            journal=lambda _: None,
        )
        self.api = serve(0, lambda: self.controller.pages)
        self.rollout: KubernetesRollout = KubernetesRollout(
            f"http://127.0.0.1:{self.api.server_address[1]}", timeout_seconds=5
        )

    def close(self) -> None:
        self.rollout.close()
        self.api.shutdown()
        self.api.server_close()

    def runs(self, version: int) -> None:
        self.starter.ready_at_once = True
        self._name(version, seconds=10)

    def gives_up(self, version: int, words: str) -> None:
        self.starter.ready_at_once = False
        self._name(version, seconds=1)
        self.starter.started[-1].words = words
        self._name(version, seconds=61)

    def name(self, version: int) -> None:
        self.starter.ready_at_once = False
        self._name(version, seconds=1)

    def _name(self, version: int, *, seconds: float) -> None:
        files = first_files(Slot(MODEL, "production"), replicas=1) | {
            release_path(Slot(MODEL, "production")): render(release(version))
        }
        bases = {
            f"gitops/models/{folder}/kustomization.yaml": b"kind: Kustomization\n"
            for folder in ("base", "release")
        }
        for _ in range(int(seconds * 4)):
            self.now += 0.25
            self.controller.step(Commit(str(version), files | bases), self.now)


class ApiServerWorld:
    """A real API server. This class writes what Kubernetes' controllers would write."""

    def __init__(self, server: ApiServer, tree: Path) -> None:
        self.server, self.tree, self.now = server, tree, 0
        self.rollout = KubernetesRollout("kubeconfig", timeout_seconds=10)

    def close(self) -> None:
        self.rollout.close()
        self.server.kubectl(
            "delete",
            "deployments,pods",
            "--all",
            "--namespace",
            "models",
            "--force",
            "--grace-period=0",
        )

    def runs(self, version: int) -> None:
        self.names(version)
        self.counts(
            updated=2,
            available=2,
            conditions=[
                condition(
                    "Progressing", "True", "NewReplicaSetAvailable", "has successfully progressed."
                )
            ],
        )

    def gives_up(self, version: int, words: str) -> None:
        self.names(version)
        ended = {
            "terminated": {"exitCode": 1, "reason": "Error", "message": f"starting\n{words}\n"}
        }
        waiting = {
            "waiting": {
                "reason": "CrashLoopBackOff",
                "message": "back-off 5m0s restarting failed container",
            }
        }
        self.pod_says({"restartCount": 4, "state": waiting, "lastState": ended})
        late = 'ReplicaSet "server-flight-delay-5d59d67564" has timed out progressing.'
        self.counts(
            updated=1,
            available=0,
            conditions=[condition("Progressing", "False", "ProgressDeadlineExceeded", late)],
        )

    def names(self, version: int) -> None:
        """Main names the version, Flux has applied it, and no controller has looked yet."""
        (self.tree / release_path(Slot(MODEL, "production"))).write_bytes(render(release(version)))
        self.server.kubectl(
            "apply", "-f", "-", objects=kustomize(self.tree / f"gitops/models/{MODEL}/production")
        )

    def counts(
        self,
        *,
        updated: int,
        available: int,
        replicas: int = 2,
        conditions: list[dict[str, str]] | None = None,
    ) -> None:
        found = self.server.call("GET", DEPLOYMENT)
        counters = {
            "replicas": replicas,
            "updatedReplicas": updated,
            "availableReplicas": available,
            "readyReplicas": available,
        }
        self.server.patch_status(
            DEPLOYMENT,
            {
                "observedGeneration": found["metadata"]["generation"],
                "conditions": conditions or [],
                **counters,
            },
        )

    def pod_says(self, container: dict[str, Any]) -> None:
        """A pod of the Deployment's template, whose one container has this status."""
        self.now += 1
        template = self.server.call("GET", DEPLOYMENT)["spec"]["template"]
        metadata = {
            "name": f"server-{self.now}",
            "namespace": "models",
            "labels": template["metadata"]["labels"],
        }
        image = template["spec"]["containers"][0]["image"]
        self.server.kubectl(
            "apply",
            "-f",
            "-",
            objects=[
                {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
            ],
        )
        status = {
            "name": "server",
            "image": image,
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            **container,
        }
        self.server.patch_status(
            f"/api/v1/namespaces/models/pods/server-{self.now}", {"containerStatuses": [status]}
        )


DEPLOYMENT = f"/apis/apps/v1/namespaces/models/deployments/server-{MODEL}"


def condition(kind: str, status: str, reason: str, message: str) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree_with_model(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def server(tree: Path) -> Iterator[ApiServer]:
    """The API server with gitops/platform and promote's account and rights applied."""
    with running() as started:
        started.kubectl("apply", "-f", "-", objects=kustomize(tree / "gitops/platform"))
        started.kubectl(
            "apply",
            "-f",
            "-",
            objects=kind(
                kustomize(tree / "gitops/platform/production"),
                "ServiceAccount",
                "Role",
                "RoleBinding",
            ),
        )
        yield started


@pytest.fixture
def as_promote(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The kubeconfig of promote's own account is the one found; return its token."""
    token = server.kubectl("create", "token", "promote", "--namespace", "promote").stdout.strip()
    monkeypatch.setattr(
        "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(server.kubeconfig(token))
    )  # KUBECONFIG, read at import
    return token


@pytest.fixture
def kubernetes(server: ApiServer, tree: Path, as_promote: str) -> Iterator[ApiServerWorld]:
    made = ApiServerWorld(server, tree)
    yield made
    made.close()


@pytest.fixture(params=["fake", "cluster", "kube-apiserver"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "fake":
        yield FakeWorld()
        return
    if request.param == "kube-apiserver":
        yield request.getfixturevalue("kubernetes")
        return
    cluster = ClusterWorld(tmp_path)
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ClusterWorld]:
    made = ClusterWorld(tmp_path)
    yield made
    made.close()


def state(world: World, version: int) -> str:
    return world.rollout.status(MODEL, release(version).image).state


def test_a_model_that_was_never_released_is_absent(world: World) -> None:
    assert state(world, 1) == "absent"
    world.runs(1)
    assert world.rollout.status("another", release(1).image).state == "absent"


def test_what_came_up_is_healthy_and_nothing_else_is(world: World) -> None:
    world.runs(1)
    assert (state(world, 1), state(world, 2)) == ("healthy", "progressing")
    world.runs(2)
    assert (state(world, 1), state(world, 2)) == ("progressing", "healthy")


def test_one_call_gives_the_statuses_of_several_models(world: World) -> None:
    world.runs(1)
    statuses = world.rollout.statuses({MODEL: release(1).image, "another": release(2).image})
    assert {name: status.state for name, status in statuses.items()} == {
        MODEL: "healthy",
        "another": "absent",
    }
    assert world.rollout.statuses({}) == {}


def test_what_did_not_come_up_is_failed_with_the_clusters_words(world: World) -> None:
    world.runs(1)
    world.gives_up(2, "ModelAltered: model.onnx is not what was released")
    status = world.rollout.status(MODEL, release(2).image)
    assert status.state == "failed"
    assert "ModelAltered: model.onnx is not what was released" in status.reason
    assert state(world, 1) == "progressing"


def test_after_a_failure_the_release_before_is_healthy_again_once_git_names_it(
    world: World,
) -> None:
    world.runs(1)
    world.gives_up(2, "it crashed")
    world.runs(1)
    assert (state(world, 1), state(world, 2)) == ("healthy", "progressing")


def test_a_first_release_that_does_not_come_up_is_failed(world: World) -> None:
    world.gives_up(1, "it crashed")
    assert state(world, 1) == "failed"


def test_while_a_release_comes_up_it_is_progressing_and_so_is_one_whose_predecessor_drains(
    cluster: ClusterWorld,
) -> None:
    cluster.runs(1)
    cluster.name(2)
    assert (state(cluster, 1), state(cluster, 2)) == ("progressing", "progressing")
    cluster.starter.started[-1].ready = True
    cluster.starter.started[0].stubborn = True
    for _ in range(20):
        cluster.name(2)
    assert state(cluster, 2) == "healthy"
    assert not cluster.starter.started[0].running


def test_a_cluster_that_is_gone_is_not_an_absence(cluster: ClusterWorld) -> None:
    cluster.runs(1)
    cluster.close()
    cluster.rollout = KubernetesRollout(
        f"http://127.0.0.1:{cluster.api.server_address[1]}", timeout_seconds=5
    )
    with pytest.raises(ClusterUnavailable):
        state(cluster, 1)


def test_a_page_that_kubernetes_would_not_know_is_no_absence(cluster: ClusterWorld) -> None:
    elsewhere = KubernetesRollout(
        f"http://127.0.0.1:{cluster.api.server_address[1]}/wrong", timeout_seconds=5
    )
    with pytest.raises((ClusterRefused, ClusterUnavailable)):
        elsewhere.status(MODEL, release(1).image)
    elsewhere.close()


# What only Kubernetes does


def test_a_generation_that_no_controller_has_seen_is_progressing(
    kubernetes: ApiServerWorld,
) -> None:
    kubernetes.names(1)
    assert (
        "has not processed the Deployment's newest generation yet"
        in kubernetes.rollout.status(MODEL, release(1).image).reason
    )
    kubernetes.runs(1)
    kubernetes.names(2)
    assert state(kubernetes, 2) == "progressing"


@pytest.mark.parametrize(
    ("updated", "available", "replicas"), [(0, 0, 0), (2, 1, 2), (1, 2, 2), (2, 2, 3), (1, 3, 3)]
)
def test_only_all_pods_new_and_available_are_healthy(
    kubernetes: ApiServerWorld, updated: int, available: int, replicas: int
) -> None:
    kubernetes.names(1)
    kubernetes.counts(updated=updated, available=available, replicas=replicas)
    assert state(kubernetes, 1) == "progressing"


def test_a_deployment_scaled_to_nothing_is_not_healthy(kubernetes: ApiServerWorld) -> None:
    kubernetes.runs(1)
    kubernetes.server.kubectl(
        "scale", "--replicas=0", "--namespace", "models", f"deployment/server-{MODEL}"
    )
    kubernetes.counts(updated=0, available=0, replicas=0)
    assert state(kubernetes, 1) == "progressing"


@pytest.mark.parametrize(
    ("container", "says"),
    [
        (
            {
                "state": {
                    "waiting": {
                        "reason": "ImagePullBackOff",
                        "message": "Back-off pulling image: manifest unknown",
                    }
                }
            },
            "ImagePullBackOff: Back-off pulling",
        ),
        (
            {
                "state": {
                    "terminated": {
                        "exitCode": 1,
                        "message": "ModelAltered: model.onnx is sha256:1\n",
                    }
                }
            },
            "exit code 1 (None): ModelAltered: model.onnx is",
        ),
        ({"state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}, "it runs and is not ready"),
    ],
    ids=["no image", "altered model", "never ready"],
)
def test_while_it_comes_up_the_reason_is_its_pods(
    kubernetes: ApiServerWorld, container: dict[str, Any], says: str
) -> None:
    kubernetes.names(1)
    kubernetes.counts(updated=1, available=0)
    kubernetes.pod_says(container)
    found = kubernetes.rollout.status(MODEL, release(1).image)
    assert found.state == "progressing"
    assert says in found.reason


def test_a_flapping_pod_that_resets_the_clusters_deadline_fails_by_ours(
    kubernetes: ApiServerWorld,
) -> None:
    landed = datetime(2026, 1, 1, tzinfo=UTC)
    kubernetes.names(1)
    kubernetes.counts(
        updated=2,
        available=1,
        conditions=[condition("Progressing", "True", "ReplicaSetUpdated", "is progressing.")],
    )
    kubernetes.pod_says(
        {
            "restartCount": 9,
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
            "lastState": {"terminated": {"exitCode": 139}},
        }
    )
    found = kubernetes.rollout.status(MODEL, release(1).image)
    assert found.state == "progressing"
    assert "restarted 9 times; it ended last with exit code 139" in found.reason
    for seconds, has_failed in [(299, False), (300, True)]:
        announced = Status("ratchet/rollout", "pending", "", landed)
        commit = ReleaseCommit("c" * 40, landed, b"release.yaml", release(1), announced)
        observation = Observation(
            MODEL,
            "production",
            main="",
            history=(commit,),
            pulls=(),
            policy="0" * 8,
            at=landed + timedelta(seconds=seconds),
            rollout=found,
            deadline=timedelta(seconds=300),
        )
        assert observation.has_failed is has_failed


def test_an_account_without_rights_is_refused_and_named(
    server: ApiServer, as_promote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = server.kubectl("create", "token", "gateway", "--namespace", "gateway").stdout.strip()
    for token, says in [
        (stranger, "system:serviceaccount:gateway:gateway.*cannot list resource"),
        ("expired", "401, Unauthorized"),
    ]:
        monkeypatch.setattr(
            "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION",
            str(server.kubeconfig(token)),
        )
        rollout = KubernetesRollout("kubeconfig")
        with pytest.raises(ClusterRefused, match=says):
            rollout.status(MODEL, release(1).image)
        rollout.close()


def test_in_a_pod_its_own_account_is_used(
    server: ApiServer, as_promote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(as_promote)
    host, _, port = server.url.removeprefix("https://").partition(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    monkeypatch.setattr(
        "kubernetes.config.incluster_config.SERVICE_TOKEN_FILENAME", str(tmp_path / "token")
    )
    monkeypatch.setattr(
        "kubernetes.config.incluster_config.SERVICE_CERT_FILENAME",
        str(server.folder / "certificates" / "apiserver.crt"),
    )
    rollout = KubernetesRollout("in-cluster")
    assert rollout.status(MODEL, release(1).image).state == "absent"
    rollout.close()


def test_a_certificate_of_somebody_else_is_an_outage_and_not_trusted(server: ApiServer) -> None:
    rollout = KubernetesRollout(server.url)
    with pytest.raises(ClusterUnavailable, match="certificate"):
        rollout.status(MODEL, release(1).image)
    rollout.close()
