"""What a window's run says in MLflow: names, tags, parameters and figures that a person compares runs by, and the sentence on its version."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import pyarrow as pa
from numpy.typing import ArrayLike

from retrain.comparison.intervals import METRICS, metric_value
from retrain.contract import ModelCard, Snapshot, Split, digest_of_json, utc_text
from retrain.fitting.training import Fitted, Ineligible, Labels, true_or_false
from retrain.spec.model_file import ModelSpec

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
"""Tags of a run that its version has, too."""

REQUIRED_TAGS = frozenset({*VERSION_TAGS, NOTE})
"""A run without one of them cannot be registered: an earlier version of Ratchet wrote it. It is trained again."""


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
    """Why it failed; None when it did not."""


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
class Registered:
    """A version in the model registry."""

    version: int
    run_id: str


@dataclass(frozen=True)
class FinishedRun:
    """A run that counts."""

    run_id: str
    technique: str
    model_digest: str


class Runs(Protocol):
    """One model's runs and versions; `retrain.runs.mlflow` has the real one."""

    def check(self) -> None:
        """Return when it answers, else raise TrackingUnavailable without delay."""

    def champion_technique(self) -> str | None:
        """Return the technique that production runs; None when nothing does."""

    def finished_run(self, identity: str) -> FinishedRun | None:
        """Return the first run that finished with this identity and has all of REQUIRED_TAGS."""

    def last_snapshot(self, plan_digest: str) -> tuple[Registered, Snapshot] | None:
        """Return the newest version that this plan made, and what it was trained on.

        None when there is none, or when its snapshot is lost or cannot be read.
        """

    def registered(self, run_id: str) -> Registered | None:
        """Return the version that this run's model is."""

    def record(
        self, parent: Record, children: Sequence[Record], rows: Sequence[Rows], folder: Path
    ) -> str:
        """Write a window's run and return its id; finished is the last thing that it becomes."""

    def register(self, run_id: str, *, title: str) -> Registered:
        """Return the version that this run's model is, registered once."""


@dataclass(frozen=True)
class WindowRun:
    """What a run was asked to do, and the rows it found."""

    spec: ModelSpec
    start: datetime
    end: datetime
    snapshot: Snapshot
    rows: Mapping[str, pa.Table]
    """By split: `train`, `validation`, `test`."""
    identity: str
    seed: int
    sample: int | None
    reason: str
    git_revision: str
    weeks_without_rows: tuple[str, ...] = ()
    """The window's last weeks, when no row of them came."""

    @property
    def run_name(self) -> str:
        """How people call the run, `flight-delay 2013-07-08`."""
        midnight = self.end.hour == self.end.minute == self.end.second == 0
        return (
            f"{self.spec.name} {self.end:%Y-%m-%d}"
            if midnight
            else f"{self.spec.name} {utc_text(self.end)}"
        )

    def labels(self, split: str) -> Labels:
        """Return a split's labels as 1 or 0."""
        return true_or_false(self.rows[split], self.spec.columns.label, split=split)


def figures(split: str, labels: ArrayLike, scores: ArrayLike) -> dict[str, float]:
    """Return every metric, named as on every other run: `validation_log_loss`.

    >>> figures("test", [1, 0], [0.9, 0.2])["test_accuracy"]
    1.0
    """
    return {f"{split}_{metric}": metric_value(metric, labels, scores) for metric in METRICS}


def window_record(
    window: WindowRun,
    card: ModelCard,
    winner: Fitted,
    measured: Mapping[str, float],
    why: str,
    *,
    started_ms: int,
    ended_ms: int,
) -> Record:
    """Return the parent run: the window, the technique that ships and its figures."""
    technique = window.spec.techniques[card.technique]
    tags = {
        "run_identity": window.identity,
        "plan_digest": window.spec.plan_digest,
        "snapshot_id": window.snapshot.snapshot_id,
        "window_start": utc_text(window.start),
        "window_end": utc_text(window.end),
        "technique": card.technique,
        "recipe_digest": card.recipe_digest,
        "model_digest": card.model_digest,
        "git_revision": window.git_revision,
        "reason": window.reason,
        NOTE: _sentence(window, card.technique, measured, why),
    }
    if window.weeks_without_rows:
        tags["weeks_without_rows"] = ", ".join(window.weeks_without_rows)
    params = {
        "technique": card.technique,
        "estimator": technique.estimator,
        **technique.params,
        "window_start": utc_text(window.start),
        "window_end": utc_text(window.end),
        "seed": window.seed,
        "sample": window.sample or "all rows",
    }
    counts = {f"{split}_rows": float(rows.num_rows) for split, rows in window.rows.items()}
    metrics = {
        **measured,
        **counts,
        "onnx_largest_difference": winner.largest_difference,
        "refit_seconds": winner.seconds,
    }
    return Record(window.run_name, tags, params, metrics, started_ms, ended_ms)


def behind_sentence(weeks: Sequence[str]) -> str:
    """Return what people are told of a window whose last weeks hold no rows.

    >>> behind_sentence(["2013-W28"])
    'window holds no rows in 2013-W28, its last weeks: see whether the source is behind'
    """
    return f"window holds no rows in {', '.join(weeks)}, its last weeks: see whether the source is behind"


def technique_record(window: WindowRun, candidate: Fitted | Ineligible, *, ended_ms: int) -> Record:
    """Return one technique's child run: its parameters, and its figures on validation or why it may not ship."""
    technique = window.spec.techniques[candidate.name]
    params = {
        "technique": candidate.name,
        "estimator": technique.estimator,
        **technique.params,
        "seed": window.seed,
    }
    tags = {"technique": candidate.name, "window_end": utc_text(window.end)}
    metrics = {"fit_seconds": candidate.seconds}
    problem = None
    if isinstance(candidate, Fitted):
        metrics |= figures("validation", window.labels("validation"), candidate.scores) | {
            "onnx_largest_difference": candidate.largest_difference
        }
    else:
        problem = candidate.reason
        tags[NOTE] = f"Not eligible: {problem}"
    started_ms = ended_ms - int(candidate.seconds * 1000)
    return Record(
        f"{window.run_name} {candidate.name}", tags, params, metrics, started_ms, ended_ms, problem
    )


def rows_read(window: WindowRun) -> Iterator[Rows]:
    """Yield the three splits as the datasets that the run read."""
    snapshot = window.snapshot
    for context, split in (
        ("train", snapshot.train),
        ("validation", snapshot.validation),
        ("test", snapshot.test),
    ):
        yield Rows(
            name=f"{window.spec.name} {context}",
            context=context,
            digest=digest_of_json([snapshot.snapshot_id, context])[7:23],
            source=json.dumps(
                {"snapshot_id": snapshot.snapshot_id, "partitions": _partitions_of(snapshot, split)}
            ),
            profile=json.dumps(
                {
                    "num_rows": split.rows,
                    "groups": len(split.groups),
                    "start": utc_text(split.start),
                    "end": utc_text(split.end),
                }
            ),
        )


def _partitions_of(snapshot: Snapshot, split: Split) -> Sequence[str]:
    first, last = (
        f"{moment.isocalendar().year}-W{moment.isocalendar().week:02}"
        for moment in (split.start, split.end)
    )
    return [partition.uri for partition in snapshot.partitions if first <= partition.week <= last]


def _sentence(window: WindowRun, technique: str, measured: Mapping[str, float], why: str) -> str:
    metric = window.spec.gate.metric
    days = f"{window.start:%Y-%m-%d} to {window.end:%Y-%m-%d}"
    figure = f"{METRICS[metric].label} {measured[f'test_{metric}']:.4f} on {window.rows['test'].num_rows:,} test rows"
    behind = (
        f" The {behind_sentence(window.weeks_without_rows)}." if window.weeks_without_rows else ""
    )
    return f"{technique} on rows of {days}; {figure}. {why[0].upper()}{why[1:]}.{behind}"
