"""The port `Runs`: what retrain keeps of a window, and the values that it hands over.

`retrain.runs.mlflow` implements the port.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from retrain.contract import Snapshot

NOTE = "mlflow.note.content"
"""The tag that MLflow shows as a run's description."""

VERSION_TAGS = (
    "snapshot_id",
    "window_start",
    "window_end",
    "technique",
    "recipe_digest",
    "model_digest",
    "git_revision",
)
"""Tags of a run that its model version gets too."""

OPTIONAL_TAGS = ("trained_on",)
"""As VERSION_TAGS, when the run has them."""

REQUIRED_TAGS = frozenset({*VERSION_TAGS, NOTE})
"""A run that lacks one of these tags cannot be registered. Retrain trains its window again."""


@dataclass(frozen=True)
class Record:
    """One run as MLflow shows it."""

    name: str
    tags: Mapping[str, str]
    params: Mapping[str, object]
    metrics: Mapping[str, float]
    started_ms: int
    ended_ms: int
    problem: str | None = None
    """Why the run failed; None for a run that did not fail."""


@dataclass(frozen=True)
class Rows:
    """One split of a snapshot, as a dataset that a run read."""

    name: str
    context: str
    """`train`, `validation` or `test`."""
    digest: str
    source: str
    """JSON."""
    profile: str
    """JSON."""


@dataclass(frozen=True)
class RegisteredVersion:
    """A version in the model registry, and the run that made it."""

    version: int
    run_id: str


@dataclass(frozen=True)
class FinishedRun:
    """A run that was recorded to its end."""

    run_id: str
    technique: str
    model_digest: str


class Runs(Protocol):
    """One model's runs and versions.

    Every method raises TrackingUnavailable for an outage and TrackingRefused for a refusal.
    """

    def check(self) -> None:
        """Return when the server answers. Asks once, without retries."""

    def champion_technique(self) -> str | None:
        """Return the technique of the champion; None when the model has no champion."""

    def finished_run(self, identity: str) -> FinishedRun | None:
        """Return the first finished run that has this identity and all REQUIRED_TAGS."""

    def last_snapshot(self, plan_digest: str) -> tuple[RegisteredVersion, Snapshot] | None:
        """Return the newest version of this plan and the snapshot that it was trained on.

        None when no version is of this plan, or when its snapshot is lost or cannot be read.
        """

    def registered(self, run_id: str) -> RegisteredVersion | None:
        """Return the version of this run's model; None when the run is not registered."""

    def record(
        self, parent: Record, children: Sequence[Record], rows: Sequence[Rows], folder: Path
    ) -> str:
        """Write a window's run and return its id.

        The status `finished` is written last. Runs of the same identity that an earlier attempt
        left open are closed first.

        Args:
            parent: Its tags hold `run_identity`.
            children: One run for each technique.
            rows: What the run read.
            folder: Becomes the run's artifacts.
        """

    def register(self, run_id: str, *, title: str) -> RegisteredVersion:
        """Return the version of this run's model, and register the run if it has no version.

        The model's newest version becomes the challenger.

        Args:
            run_id: A finished run with a model folder. Its tags and its note become the version's.
            title: The model's title for people; written when the model is new.
        """
