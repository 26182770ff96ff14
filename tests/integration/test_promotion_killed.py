"""kill -9 at every write of a promotion and of a rollback: run again, both end the same.

Forge, MLflow and image folder are real.
"""

from __future__ import annotations

import json
import multiprocessing
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from promote.cluster.kubernetes import KubernetesRollout
from promote.forge.github import GitHubForge
from promote.images.layout import LayoutRegistry
from promote.loop.observation import Observation
from promote.loop.observer import Observer, Parts
from retrain.contract import ModelCard, digest_of_bytes
from tests.conformance.test_model_registry import MlflowRetrain
from tests.fakes.promotion_world import SPEC, model_folder
from tests.grounds.forge_server import REPOSITORY, start_forge
from tests.grounds.killed_promotion import Run, run

PROCESSES = multiprocessing.get_context("forkserver")
LOADED_ONCE = [
    "promote.forge.github",
    "promote.images.layout",
    "promote.cluster.kubernetes",
    "promote.registry.mlflow",
    "tests.grounds.killed_promotion",
]
# Otherwise each of some seventy processes loads the clients again.
PROCESSES.set_forkserver_preload(LOADED_ONCE)
MODEL = "flight-delay-killed"
WRITES_OF_A_PROPOSAL, WRITES_OF_A_RECORD, WRITES_OF_A_ROLLBACK = 14, 8, 3


class Cluster(ThreadingHTTPServer):
    """Lists Deployments; a test sets the image of each model."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.images: dict[str, str] = {}


def _deployment(model: str, image: str) -> dict[str, Any]:
    counters = dict.fromkeys(
        ("observedGeneration", "replicas", "updatedReplicas", "availableReplicas"), 1
    )
    container = {"name": "server", "image": image}
    return {
        "metadata": {"name": f"server-{model}", "generation": 1},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [container]}}},
        "status": counters,
    }


class _Answer(BaseHTTPRequestHandler):
    server: Cluster

    def do_GET(self) -> None:
        items = [_deployment(model, image) for model, image in self.server.images.items()]
        body = json.dumps({"kind": "DeploymentList", "metadata": {}, "items": items}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


class Ground:
    """The real parts, and what people and the cluster do."""

    def __init__(self, folder: Path, mlflow: str, cluster: Cluster, forge: str, token: str) -> None:
        self.cluster, self.retrain, self.numbers = cluster, MlflowRetrain(mlflow, folder), count(1)
        self.settings: dict[str, Any] = {
            "tracking_url": mlflow,
            "forge_url": forge,
            "forge_token": token,
            "repository": REPOSITORY,
            "images": f"oci-layout:{folder / 'images'}",
            "cluster_url": f"http://127.0.0.1:{cluster.server_address[1]}",
            "forge_seconds_between_writes": 0,
            "forge_writes_per_hour": 0,
            "mirror": str(folder / "mirror"),
        }
        self.forge = GitHubForge(
            forge, token, REPOSITORY, mirror=folder / "looks.git", seconds_between_writes=0
        )
        self.images = LayoutRegistry(folder / "images")

    def look(self, model: str) -> Observation:
        rollout = KubernetesRollout(self.settings["cluster_url"])
        parts = Parts(
            self.forge,
            rollout,
            self.retrain.registry,
            self.images,
            clock=lambda: datetime.now(UTC),
            deadline=timedelta(minutes=5),
        )
        self.forge.refresh()
        observation = Observer(parts).look(model)
        assert isinstance(observation, Observation)
        return observation

    def register(self, model: str) -> None:
        folder = model_folder(next(self.numbers))
        card = ModelCard.model_validate_json(folder["model.json"]).model_copy(
            update={"model": model}
        )
        folder["model.json"] = card.to_bytes()
        tags = {
            "model_digest": digest_of_bytes(folder["model.json"]),
            "snapshot_id": card.snapshot_id,
            "recipe_digest": card.recipe_digest,
            "technique": card.technique,
        }
        self.retrain.register(model, folder, snapshot=b"{}", tags=tags)

    def run(self, told: Run) -> bool:
        """Run promote; True when it was killed."""
        process = PROCESSES.Process(target=run, args=(told,))
        process.start()
        process.join(120)
        assert process.exitcode in {0, -9}, process.exitcode
        return process.exitcode == -9

    def merge(self, model: str) -> None:
        (observation,) = self.look(model).open
        self.forge._repository.get_pull(observation.pull.number).merge(merge_method="squash")

    def roll_out(self, model: str) -> None:
        commit = self.look(model).release_commit
        assert commit is not None
        assert commit.release is not None
        self.cluster.images[model] = commit.release.image

    def verdicts(self, version: int) -> int:
        return sum(
            name.startswith("verdict.")
            for name in self.retrain.registry.version(MODEL, version).tags
        )

    def comments(self, number: int) -> int:
        """How many comments say how the rollout ended; a repeated request adds its reason too."""
        comments = self.forge._repository.get_pull(number).get_issue_comments()
        return sum(comment.body.startswith("Rollout:") for comment in comments)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, mlflow_server: str) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("killed")
    files = {
        f"dags/models/{MODEL}.yaml": SPEC.replace(b"flight-delay", MODEL.encode()),
        f"dags/models/{MODEL}.sql": b"select 1\n",
    }
    forge, url, _, token = start_forge(folder / "forge", files=files)
    cluster = Cluster()
    threading.Thread(target=cluster.serve_forever, daemon=True).start()
    yield Ground(folder, mlflow_server, cluster, url, token)
    cluster.shutdown()
    cluster.server_close()
    forge.stop()


@dataclass
class Killer:
    """Runs promote twice: killed at a write, and then undisturbed."""

    ground: Ground
    killed: int = 0

    def twice(self, told: Run, *, dies_at: int) -> None:
        self.killed += self.ground.run(replace(told, dies_at=dies_at, answer_lost=dies_at % 2 == 0))
        self.ground.run(told)


@pytest.mark.e2e
@pytest.mark.timeout(1200)
def test_killed_at_every_write_and_run_again_the_end_is_the_same(ground: Ground) -> None:
    usual, killer = Run(ground.settings, MODEL), Killer(ground)
    for number in range(1, WRITES_OF_A_PROPOSAL + 1):
        ground.register(MODEL)
        killer.twice(usual, dies_at=number)
        _is_proposed_once(ground, "promotion", number)
        assert ground.verdicts(number) == 1

        _land(ground, killer, dies_at=1 + number % WRITES_OF_A_RECORD)
        _served(ground, number)
        if number in range(2, 2 * WRITES_OF_A_ROLLBACK + 1, 2):
            killer.twice(replace(usual, rollback=True), dies_at=number // 2)
            killer.twice(usual, dies_at=1)
            back = ground.look(MODEL).open[0].branch.version
            _is_proposed_once(ground, "rollback", back)
            _land(ground, killer, dies_at=1 + number // 2 % WRITES_OF_A_RECORD)
            _served(ground, back)
    assert killer.killed >= WRITES_OF_A_PROPOSAL, (
        f"only {killer.killed} runs were killed: the moments no longer fit what promote does"
    )


def _is_proposed_once(ground: Ground, purpose: str, version: int) -> None:
    observation = ground.look(MODEL)
    (proposal,) = observation.open
    assert (
        proposal.branch.purpose,
        proposal.branch.version,
        proposal.as_proposed,
        proposal.gate,
    ) == (purpose, version, True, "success")
    assert sum(one.pull.branch == proposal.pull.branch for one in observation.pulls) == 1


def _land(ground: Ground, killer: Killer, *, dies_at: int) -> None:
    ground.merge(MODEL)
    ground.roll_out(MODEL)
    killer.twice(Run(ground.settings, MODEL), dies_at=dies_at)


def _served(ground: Ground, version: int) -> None:
    observation = ground.look(MODEL)
    assert observation.release_commit is not None
    assert observation.release_commit.release is not None
    assert (
        observation.release_commit.release.version,
        observation.release_commit.served,
        observation.champion,
    ) == (
        version,
        True,
        version,
    )
    (merged,) = [
        one.pull
        for one in observation.pulls
        if one.pull.merge_commit == observation.release_commit.commit
    ]
    assert ground.comments(merged.number) == 1
