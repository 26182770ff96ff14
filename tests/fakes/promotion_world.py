"""A whole promotion in memory.

Every outside part is a fake, the judge says what a test wants, and tests move the clock. It also
does what people do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from promote.contract import Outcome, Release, Slot, Verdict
from promote.evidence.port import Judged
from promote.loop.observation import ProposedPull
from promote.loop.observer import Observer, Parts
from promote.loop.reconciler import Reconciler
from promote.loop.way_back import AskedRollback, roll_back
from promote.registry.port import ModelVersion
from promote.release.slot import release_path
from retrain.contract import (
    Comparison,
    Interval,
    ModelCard,
    ModelSchema,
    canonical_json,
    digest_of_bytes,
)
from retrain.spec.model_file import GatePolicy
from tests.fakes.forge import FakeForge
from tests.fakes.image_registry import FakeImageRegistry
from tests.fakes.model_registry import FakeModelRegistry
from tests.fakes.rollout import FakeRollout

MODEL = "flight-delay"
PATH = release_path(Slot(MODEL, "production"))
SPEC = b"""\
name: flight-delay
owner: "@acme/ml"
task: binary_classification
query: flight-delay.sql
columns: {key: flight_key, event_time: departed_at, label: delayed, groups: day}
label_delay: 1 day
features: {carrier: category, distance: number}
"""
MAIN = {
    "README.md": b"hello\n",
    "dags/models/flight-delay.yaml": SPEC,
    "dags/models/flight-delay.sql": b"select 1\n",
}


def model_folder(number: int) -> dict[str, bytes]:
    """Return a folder whose digests are right. Its network is never run."""
    network = f"network {number}".encode()
    card = ModelCard(
        model=MODEL,
        task="binary_classification",
        technique="boosted_trees",
        io=ModelSchema(features=(), outputs=()),
        snapshot_id=digest_of_bytes(f"snapshot {number}".encode()),
        recipe_digest=digest_of_bytes(b"recipe"),
        files={"model.onnx": digest_of_bytes(network)},
    )
    return {"model.json": card.to_bytes(), "model.onnx": network}


@dataclass
class ToldJudge:
    """Returns the outcome that a test set for a version, else `promote`."""

    told: dict[int, Outcome] = field(default_factory=dict)
    asked: list[tuple[int, int | None]] = field(default_factory=list)

    def __call__(
        self,
        challenger: ModelVersion,
        champion: Release | None,
        policy: GatePolicy,
        *,
        had_release: bool,
    ) -> Judged:
        self.asked.append((challenger.version, champion.version if champion else None))
        interval = Interval(estimate=0.013, lower=0.006, upper=0.019, confidence=0.95)
        figure = Comparison(
            metric="log_loss",
            where="all rows",
            champion=0.45,
            challenger=0.437,
            improvement=interval,
            rows=6000,
            groups=7,
            effective_groups=6.9,
        )
        verdict = Verdict(
            outcome=self.told.get(challenger.version, "promote"),
            kind="refresh" if had_release else "first",
            model=challenger.model,
            challenger=challenger.version,
            champion=champion.version if champion else None,
            snapshot_id=challenger.snapshot_id,
            policy_digest=policy.policy_digest,
            comparisons=(figure,),
            reasons=(),
        )
        return Judged(
            verdict,
            {
                "verdict.json": canonical_json(verdict.model_dump(mode="json")),
                "evidence.json": b"{}\n",
            },
            {"gate_log_loss": 0.4},
        )


@dataclass
class World:
    """The world around promote. Each call of `reconciler()` is a new process."""

    at: datetime = datetime(2026, 1, 5, 6, tzinfo=UTC)
    registry: FakeModelRegistry = field(default_factory=FakeModelRegistry)
    images: FakeImageRegistry = field(default_factory=FakeImageRegistry)
    rollout: FakeRollout = field(default_factory=FakeRollout)
    judge: ToldJudge = field(default_factory=ToldJudge)
    around: Callable[[str, Any], Any] = lambda _, part: part
    """Wraps a part before promote gets it, so that its calls fail, kill or interrupt."""

    def __post_init__(self) -> None:
        self.forge = FakeForge(MAIN, now=self.tick)

    def tick(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at

    def parts(self) -> Parts:
        fakes = {
            "forge": self.forge,
            "rollout": self.rollout,
            "registry": self.registry,
            "images": self.images,
        }
        return Parts(
            **{name: self.around(name, part) for name, part in fakes.items()}, clock=lambda: self.at
        )

    def reconciler(self) -> Reconciler:
        return Reconciler(self.parts(), self.judge)

    def roll_back(self, *, reason: str = "a bad day", version: int | None = None) -> AskedRollback:
        """A person asks for the way back, with the forge alone."""
        return roll_back(self.parts().forge, "production", MODEL, reason=reason, version=version)

    def look(self) -> Any:
        return Observer(
            Parts(self.forge, self.rollout, self.registry, self.images, clock=lambda: self.at)
        ).look(MODEL)

    def register(self, outcome: Outcome = "promote", **changed: str) -> int:
        """Retrain registers the next challenger; `changed` are tags of its version."""
        number = len(self.registry._versions) + 1
        folder = model_folder(number)
        tags = {
            "model_digest": digest_of_bytes(folder["model.json"]),
            "snapshot_id": digest_of_bytes(f"snapshot {number}".encode()),
            "recipe_digest": digest_of_bytes(b"recipe"),
            "technique": "boosted_trees",
            **changed,
        }
        self.judge.told[number] = outcome
        return self.registry.register(MODEL, folder, snapshot=b"{}", tags=tags).version

    def open_pull(self, purpose: str = "promotion") -> ProposedPull:
        """The one open pull request of a purpose."""
        (found,) = [one for one in self.look().open if one.branch.purpose == purpose]
        return found

    def release_on_main(self) -> Release | None:
        """The release that main names."""
        release: Release | None = self.look().release
        return release

    def roll_out(self, *, healthy: bool = True) -> None:
        """The cluster follows main."""
        release = self.release_on_main()
        if release:
            (self.rollout.becomes_healthy if healthy else self.rollout.fails)(MODEL, release.image)

    def ship(self) -> int:
        """Register, propose, merge and roll out a challenger."""
        number = self.register()
        self.reconciler().reconcile(MODEL)
        self.forge.merge(self.open_pull().pull.number)
        self.roll_out()
        self.reconciler().reconcile(MODEL)
        return number
