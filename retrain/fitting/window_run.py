"""A window's run while retrain works on it: the request and the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from retrain.comparison.metrics import metric_named, metric_value
from retrain.contract import Snapshot, utc_text
from retrain.fitting.stored_rows import StoredRows
from retrain.fitting.training import labels_of
from retrain.spec.model_file import ModelSpec
from retrain.tasks.task import Labels


@dataclass(frozen=True)
class WindowRun:
    """The request of one run, the snapshot and its rows."""

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
    """The last weeks of the window, as long as they hold no rows: `2013-W28`."""
    stored: Mapping[str, StoredRows] = field(default_factory=dict)
    """The same rows in files for the workers, and `refit`: a sample of train and validation."""

    @property
    def run_name(self) -> str:
        """The run's name for people, `flight-delay 2013-07-08`; with the time unless midnight."""
        is_midnight = self.end.hour == self.end.minute == self.end.second == 0
        end = f"{self.end:%Y-%m-%d}" if is_midnight else utc_text(self.end)
        return f"{self.spec.name} {end}"

    @property
    def trained_on(self) -> str | None:
        """Say how many rows the model that ships was fitted on; None when on all of them."""
        if self.sample is None:
            return None
        total = self.snapshot.train.rows + self.snapshot.validation.rows
        return f"{min(self.sample, total):,} of {total:,} rows, evenly spaced"

    def labels(self, split: str) -> Labels:
        """Return a split's labels as the task reads them."""
        return labels_of(
            self.rows[split], self.spec.columns.label, task=self.spec.task, split=split
        )

    def figures(self, split: str, scores: ArrayLike) -> dict[str, float]:
        """Return every metric of a split by its name in MLflow."""
        return figures(split, self.labels(split), scores, self.spec.recorded_metrics)

    def constant_figure(self, split: str, *fitted_on: str) -> dict[str, float]:
        """Return what the constant of some splits' labels scores on another split.

        Its name in MLflow is such as `validation_log_loss_constant`.
        """
        metric, labels = self.spec.gate.metric, self.labels(split)
        learnt = np.concatenate([self.labels(each) for each in fitted_on]).astype(np.float64)
        answers = np.full(len(labels), metric_named(metric).constant(learnt))
        return {f"{split}_{metric}_constant": metric_value(metric, labels, answers)}


def figures(
    split: str, labels: ArrayLike, scores: ArrayLike, metrics: Sequence[str]
) -> dict[str, float]:
    """Return metrics of a split by their names in MLflow, such as `validation_log_loss`.

    >>> figures("test", [1, 0], [0.9, 0.2], ["accuracy"])
    {'test_accuracy': 1.0}
    """
    return {f"{split}_{metric}": metric_value(metric, labels, scores) for metric in metrics}
