"""A repository and a registry of many models, all served but a few whose rollout goes on.

`RATCHET_MODELS`, `RATCHET_COMMITS` and `RATCHET_CHALLENGERS` make them smaller or larger.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from infra.local.forge.store import Status, Store
from promote.contract import Release, Slot
from promote.errors import RowsUnavailable
from promote.evidence.verdict_tag import VerdictTag
from promote.forge.github import GitHubForge
from promote.forge.status_memory import StatusMemory
from promote.images.names import image_tag
from promote.loop.observer import Parts
from promote.loop.reconciler import Reconciler
from promote.release.manifest import render
from promote.release.slot import release_path
from retrain.contract import ModelCard, ModelSchema, digest_of_bytes
from tests.fakes.image_registry import FakeImageRegistry
from tests.fakes.model_registry import FakeModelRegistry
from tests.fakes.promotion_world import SPEC, ToldJudge
from tests.fakes.rollout import FakeRollout
from tests.grounds.forge_server import REPOSITORY
from tests.grounds.lying_forge import LyingForge, lying_forge

MODELS = int(os.environ.get("RATCHET_MODELS", "100"))
COMMITS = int(os.environ.get("RATCHET_COMMITS", "1000"))
CHALLENGERS = int(os.environ.get("RATCHET_CHALLENGERS", "10"))
ROLLING_OUT = 5
NAMES = [f"model-{number:04d}" for number in range(MODELS)]
STUCK = NAMES[1]  # the rollouts of NAMES[0] and of the last four models have not ended
BEGIN = datetime(2026, 1, 5, 3, tzinfo=UTC)


class Counting:
    """A part whose calls are counted by name."""

    def __init__(self, part: Any, calls: Counter[str]) -> None:
        self._part, self._calls = part, calls

    def __getattr__(self, call: str) -> Any:
        found = getattr(self._part, call)
        if not callable(found) or call in {"reference", "run_url", "evidence_url"}:
            return found

        def called(*arguments: Any, **named: Any) -> Any:
            self._calls[call] += 1
            return found(*arguments, **named)

        return called


@dataclass
class Clock:
    at: datetime = BEGIN


class StuckJudge(ToldJudge):
    """Takes a second of the virtual clock; cannot judge one model."""

    clock: Clock

    def __call__(self, challenger: Any, *rest: Any, **named: Any) -> Any:
        self.clock.at += timedelta(seconds=1)
        if challenger.model == STUCK:
            raise RowsUnavailable("the store of snapshots does not answer")
        return super().__call__(challenger, *rest, **named)


@dataclass
class Ground:
    forge: LyingForge
    folder: Path
    registry: FakeModelRegistry
    rollout: FakeRollout
    images: FakeImageRegistry
    clock: Clock = field(default_factory=Clock)
    calls: dict[str, Counter[str]] = field(default_factory=dict)

    def reconciler(self, mirror: str) -> Reconciler:
        """A new process."""
        parts = {"registry": self.registry, "rollout": self.rollout, "images": self.images}
        self.calls = {name: Counter() for name in parts}
        forge = GitHubForge(
            self.forge.url,
            self.forge.token,
            REPOSITORY,
            mirror=self.folder / mirror / "a.git",
            seconds_between_writes=0,
            timeout_seconds=120,
        )
        judge = StuckJudge()
        judge.clock = self.clock
        return Reconciler(
            Parts(
                forge,
                **{name: Counting(part, self.calls[name]) for name, part in parts.items()},
                clock=lambda: self.clock.at,
                memory=StatusMemory(self.folder / mirror / "a.statuses.json"),
            ),
            judge,
        )

    def forget(self) -> None:
        self.forge.asked.clear()
        for counter in self.calls.values():
            counter.clear()


def version_of(name: str, number: int) -> tuple[dict[str, bytes], dict[str, str]]:
    network = f"network {name} {number}".encode()
    snapshot = digest_of_bytes(f"snapshot {name} {number}".encode())
    card = ModelCard(
        model=name,
        task="binary_classification",
        technique="boosted_trees",
        io=ModelSchema(features=(), outputs=()),
        snapshot_id=snapshot,
        recipe_digest=digest_of_bytes(b"recipe"),
        files={"model.onnx": digest_of_bytes(network)},
    )
    folder = {"model.json": card.to_bytes(), "model.onnx": network}
    tags = {
        "model_digest": digest_of_bytes(folder["model.json"]),
        "snapshot_id": snapshot,
        "recipe_digest": card.recipe_digest,
        "technique": card.technique,
    }
    return folder, tags


def release_of(name: str, number: int) -> Release:
    digest = digest_of_bytes(f"{name} {number}".encode())
    return Release(
        model=name,
        version=number,
        image=f"ratchet/{name}@{digest}",
        model_digest=digest,
        verdict_digest=digest,
    )


def tags_of_release(release: Release) -> dict[str, str]:
    """What a version has in MLflow after promote proposed its release."""
    verdict = VerdictTag(
        digest=release.verdict_digest, outcome="promote", sentence="It is better.", at=BEGIN
    )
    return {
        "model_digest": release.model_digest,
        "verdict.of-the-release": verdict.model_dump_json(),
    }


def write_main(folder: Path) -> None:
    """A commit with all models, then one release a commit: each model's newest one served."""
    lines: list[bytes] = []

    def commit(number: int, files: dict[str, bytes]) -> None:
        at = int(BEGIN.timestamp()) - 60 * (COMMITS - number)
        lines.append(
            b"commit refs/heads/main\nmark :%d\ncommitter A <a@b> %d +0000\ndata 1\nc\n"
            % (number, at)
        )
        for path, content in files.items():
            lines.append(b"M 100644 inline %s\ndata %d\n" % (path.encode(), len(content)))
            lines.append(content + b"\n")

    specs = {
        f"dags/models/{name}.yaml": SPEC.replace(b"flight-delay", name.encode(), 1)
        for name in NAMES
    }
    commit(1, {**specs, "dags/models/flight-delay.sql": b"select 1\n"})
    for number in range(2, COMMITS + 1):
        name = NAMES[number % MODELS]
        path = release_path(Slot(name, "production"))
        commit(number, {path: render(release_of(name, number // MODELS + 1))})
    subprocess.run(["git", "init", "-q", "--bare", str(folder)], check=True)
    subprocess.run(["git", "fast-import", "--quiet"], cwd=folder, input=b"".join(lines), check=True)
    subprocess.run(["git", "symbolic-ref", "HEAD", "refs/heads/main"], cwd=folder, check=True)


def add_successes(path: Path, commits: set[str]) -> None:
    """Write the statuses of rollouts that ended well into the forge's store."""
    store = Store(path)
    with store.transaction():
        for commit in sorted(commits):
            store.add(
                Status,
                sha=commit,
                state="success",
                context="ratchet/rollout",
                description="healthy",
                target_url=None,
                author="ratchet-bot",
                created_at="2026-01-05T02:00:00Z",
            )
    store.close()


@contextmanager
def thousand_models(folder: Path) -> Iterator[Ground]:
    """Serve the forge of the repository from `folder`."""
    write_main(folder / "ratchet.git")
    log = subprocess.run(
        ["git", "rev-list", "main"],
        cwd=folder / "ratchet.git",
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    ground_registry, rollout, images = FakeModelRegistry(), FakeRollout(), FakeImageRegistry()
    newest = {NAMES[(COMMITS - place) % MODELS]: log[place] for place in range(MODELS)}
    going_on = set(list(newest.values())[:ROLLING_OUT])
    healthy = {*newest.values(), *log[MODELS : 2 * MODELS]} - going_on
    add_successes(folder / "ratchet.git" / "forge.sqlite3", healthy)
    for place in range(MODELS):
        number = COMMITS - place
        name, version = NAMES[number % MODELS], number // MODELS + 1
        release = release_of(name, version)
        for one in range(1, version + 1):
            files, tags = version_of(name, one)
            if one == version and place < ROLLING_OUT:
                tags |= tags_of_release(release)
            ground_registry.register(name, files, snapshot=b"{}", tags=tags)
        ground_registry.drop_challenger(name, version)
        ground_registry.set_champion(name, version)
        tag = image_tag(version, release.model_digest)
        images._tags[f"ratchet/{name}", tag] = release.image.partition("@")[2]
        rollout.becomes_healthy(name, release.image if place >= ROLLING_OUT else "another image")
    with lying_forge(folder / "ratchet.git", {}) as forge:
        yield Ground(forge, folder, ground_registry, rollout, images)
