"""What promote may believe about a cluster, on the fake and on the local cluster over HTTP with promote's own client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from infra.local.cluster.api import serve
from infra.local.cluster.controller import Controller
from infra.local.cluster.rollout import Timing
from infra.local.cluster.source import Commit
from promote.contract import Release
from promote.errors import ClusterRefused, ClusterUnavailable
from promote.kubernetes_rollout import KubernetesRollout
from promote.release import first_files, release_path, render
from promote.rollout import Rollout
from retrain.contract import digest_of_bytes
from tests.fakes.rollout import FakeRollout
from tests.fakes.servers import FakeStarter

MODEL = "flight-delay"


def release(version: int) -> Release:
    digests = [digest_of_bytes(f"{what} {version}".encode()) for what in ("image", "model", "verdict")]
    return Release(model=MODEL, version=version, image=f"ratchet/{MODEL}@{digests[0]}", model_digest=digests[1], verdict_digest=digests[2])


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
            environment="production", starter=self.starter, timing=timing, endpoints=folder / "endpoints.json", folder=folder, journal=lambda _: None
        )
        self.api = serve(0, lambda: self.controller.pages)
        self.rollout: KubernetesRollout = KubernetesRollout(f"http://127.0.0.1:{self.api.server_address[1]}", timeout_seconds=5)

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
        files = first_files(MODEL, "production", replicas=1) | {release_path(MODEL, "production"): render(release(version))}
        bases = {f"gitops/models/{folder}/kustomization.yaml": b"kind: Kustomization\n" for folder in ("base", "release")}
        for _ in range(int(seconds * 4)):
            self.now += 0.25
            self.controller.step(Commit(str(version), files | bases), self.now)


@pytest.fixture(params=["fake", "cluster"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "fake":
        yield FakeWorld()
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


def test_what_did_not_come_up_is_failed_with_the_clusters_words(world: World) -> None:
    world.runs(1)
    world.gives_up(2, "ModelAltered: model.onnx is not what was released")
    status = world.rollout.status(MODEL, release(2).image)
    assert status.state == "failed"
    assert "ModelAltered: model.onnx is not what was released" in status.reason
    assert state(world, 1) == "progressing"


def test_after_a_failure_the_release_before_is_healthy_again_once_git_names_it(world: World) -> None:
    world.runs(1)
    world.gives_up(2, "it crashed")
    world.runs(1)
    assert (state(world, 1), state(world, 2)) == ("healthy", "progressing")


def test_a_first_release_that_does_not_come_up_is_failed(world: World) -> None:
    world.gives_up(1, "it crashed")
    assert state(world, 1) == "failed"


def test_while_a_release_comes_up_it_is_progressing_and_so_is_one_whose_predecessor_drains(cluster: ClusterWorld) -> None:
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
    cluster.rollout = KubernetesRollout(f"http://127.0.0.1:{cluster.api.server_address[1]}", timeout_seconds=5)
    with pytest.raises(ClusterUnavailable):
        state(cluster, 1)


def test_a_page_that_kubernetes_would_not_know_is_no_absence(cluster: ClusterWorld) -> None:
    elsewhere = KubernetesRollout(f"http://127.0.0.1:{cluster.api.server_address[1]}/wrong", timeout_seconds=5)
    with pytest.raises((ClusterRefused, ClusterUnavailable)):
        elsewhere.status(MODEL, release(1).image)
    elsewhere.close()
