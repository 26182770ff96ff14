"""What a pass over a thousand models asks, counted on the laptop's forge and on counting fakes.

`RATCHET_MODELS`, `RATCHET_COMMITS` and `RATCHET_CHALLENGERS` make the repository smaller or larger.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.local.forge.store import Status, Store
from promote.contract import Release, Slot
from promote.errors import RowsUnavailable
from promote.forge.github import GitHubForge
from promote.forge.status_memory import StatusMemory
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

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3000)]

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
    images: FakeImageRegistry = field(default_factory=FakeImageRegistry)
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
    commit(1, {**specs, "dags/models/flight_delay.sql": b"select 1\n"})
    for number in range(2, COMMITS + 1):
        name = NAMES[number % MODELS]
        path = release_path(Slot(name, "production"))
        commit(number, {path: render(release_of(name, number // MODELS + 1))})
    subprocess.run(["git", "init", "-q", "--bare", str(folder)], check=True)
    subprocess.run(["git", "fast-import", "--quiet"], cwd=folder, input=b"".join(lines), check=True)
    subprocess.run(["git", "symbolic-ref", "HEAD", "refs/heads/main"], cwd=folder, check=True)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("thousand")
    write_main(folder / "ratchet.git")
    log = subprocess.run(
        ["git", "rev-list", "main"],
        cwd=folder / "ratchet.git",
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    ground_registry, rollout = FakeModelRegistry(), FakeRollout()
    newest = {NAMES[(COMMITS - place) % MODELS]: log[place] for place in range(MODELS)}
    store = Store(folder / "ratchet.git" / "forge.sqlite3")
    with store.transaction():
        for commit in [*newest.values(), *log[MODELS : 2 * MODELS]]:
            if commit in set(list(newest.values())[:ROLLING_OUT]):
                continue  # their rollouts have not ended
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
    for place in range(MODELS):
        number = COMMITS - place
        name, version = NAMES[number % MODELS], number // MODELS + 1
        for one in range(1, version + 1):
            files, tags = version_of(name, one)
            ground_registry.register(name, files, snapshot=b"{}", tags=tags)
        ground_registry.drop_challenger(name, version)
        ground_registry.set_champion(name, version)
        image = release_of(name, version).image
        if place >= ROLLING_OUT:
            rollout.becomes_healthy(name, image)
        else:
            rollout.becomes_healthy(name, "another image")
    with lying_forge(folder / "ratchet.git", {}) as forge:
        yield Ground(forge, folder, ground_registry, rollout)


def a_pass(reconciler: Reconciler) -> tuple[Counter[str], float, float]:
    """States of the models, seconds of the lists, CPU seconds of the thread."""
    wall, cpu = time.perf_counter(), time.thread_time()
    names = reconciler.observer.start_pass()
    begun = time.perf_counter() - wall
    states = Counter(reconciler.reconcile(name).state for name in names)
    return states, begun, time.thread_time() - cpu


def test_a_thousand_models(ground: Ground) -> None:
    reconciler = ground.reconciler("first")
    states, git_seconds, _ = a_pass(reconciler)
    statuses = [path for method, path in ground.forge.asked if "/statuses" in path]
    print(f"start: {states}, git and lists {git_seconds:.1f} s, {len(statuses)} status calls")
    assert len(statuses) <= 2 * MODELS + 3 * ROLLING_OUT

    for name in NAMES[1 : CHALLENGERS + 1]:
        number = 1 + ground.registry.registered_models()[name].newest.version
        files, tags = version_of(name, number)
        ground.registry.register(name, files, snapshot=b"{}", tags=tags)
    ground.forget()
    began = time.perf_counter()
    states, *_ = a_pass(reconciler)
    writes = [call for call in ground.forge.asked if call[0] in {"POST", "PATCH"}]
    writes = [call for call in writes if "upload-pack" not in call[1]]
    print(
        f"{CHALLENGERS} challengers: {states} in {time.perf_counter() - began:.0f} s, "
        f"{len(writes)} writes of {len(ground.forge.asked)} calls"
    )
    assert states["proposed"] == CHALLENGERS - 1, "all but the stuck one, which came first"
    assert states["unjudged"] == 1
    assert len(writes) <= 5 * CHALLENGERS

    ground.registry.drop_challenger(STUCK, ground.registry.registered_models()[STUCK].challenger)
    a_pass(reconciler)  # statuses of the last acts become final
    ground.forget()
    states, _, cpu = a_pass(reconciler)
    pulls = states["proposed"]
    print(f"quiet: {states}, forge {len(ground.forge.asked)}, {ground.calls}, CPU {cpu:.1f} s")
    # The rollouts that have not ended: this ground has no verdicts of the releases on main.
    assert states["unrecognised"] == ROLLING_OUT
    assert len(ground.forge.asked) <= 10 + pulls
    for part, calls in ground.calls.items():
        assert calls.total() <= 10, part

    again = ground.reconciler("first")
    ground.forge.asked.clear()
    again.observer.start_pass()
    a_pass(again)
    print(f"restart: forge {len(ground.forge.asked)}")
    assert len(ground.forge.asked) <= 10 + 2 * pulls, "final statuses come from the file"
