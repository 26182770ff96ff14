"""`retrain check --data --end`: what all rows of a window say. Nothing is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from retrain.comparison.intervals import MIN_EFFECTIVE_GROUPS, effective_groups, group_codes
from retrain.comparison.metrics import metric_named, metric_value
from retrain.comparison.ranking import NotComparable
from retrain.contract import Snapshot
from retrain.errors import TrainingError
from retrain.fitting.training import labels_of
from retrain.snapshot.feature_checks import mistakes_in_rows, warnings_about_rows
from retrain.snapshot.snapshot import build_snapshot, read_split
from retrain.snapshot.store import PartitionStore
from retrain.sources.port import Source
from retrain.spec.model_file import ModelSpec


@dataclass(frozen=True)
class Findings:
    """What a window's rows say about a model file."""

    mistakes: tuple[str, ...]
    """What keeps a run from its end, or from meaning anything."""
    warnings: tuple[str, ...]
    fact: str
    """How many rows there are, and what the constant scores."""


def check_window(spec: ModelSpec, end: datetime, source: Source) -> Findings:
    """Read a window twice and return what its rows say.

    Raises:
        SourceError, WindowTooEmpty: The rows cannot be a snapshot; the message says why.
    """
    with TemporaryDirectory(prefix="ratchet-check-") as folder:
        stores = (PartitionStore(str(Path(folder, name))) for name in ("first", "again"))
        snapshot, again = (build_snapshot(spec, end, source, store) for store in stores)
        splits = {"train": snapshot.train, "validation": snapshot.validation, "test": snapshot.test}
        rows = {
            name: read_split(snapshot, split, spec.training_columns)
            for name, split in splits.items()
        }
    together = pa.concat_tables(rows.values())
    mistakes = [*_changes(snapshot, again), *mistakes_in_rows(spec, together)]
    labels = {}
    for name, table in rows.items():
        try:
            labels[name] = labels_of(table, spec.columns.label, task=spec.task, split=name)
        except TrainingError as error:
            mistakes.append(f"{error}.")
    warnings = [*warnings_about_rows(spec, together), *_too_few_groups(spec, rows["test"])]
    fact = f"{together.num_rows:,} rows, of them {rows['test'].num_rows:,} test rows"
    if {"train", "test"} <= labels.keys():
        fact += f"; {_constant(spec, labels['train'], labels['test'])}"
    return Findings(tuple(mistakes), tuple(warnings), fact)


def _changes(first: Snapshot, again: Snapshot) -> Iterator[str]:
    """Yield that two readings differ, as those of `random()`, a sample or a limit do."""
    digests = {each.week: each.rows_digest for each in first.partitions}
    others = {each.week: each.rows_digest for each in again.partitions}
    weeks = sorted(week for week in digests | others if digests.get(week) != others.get(week))
    if weeks:
        yield (
            f"two readings of the same window differ in {len(weeks)} weeks, such as {weeks[0]}: the"
            " query is not repeatable. Leave out random(), uuid(), samples, limits and now();"
            " or rows arrived meanwhile: then check again"
        )


def _too_few_groups(spec: ModelSpec, test: pa.Table) -> Iterator[str]:
    """Yield that the gate will not decide on so few groups of a test."""
    groups = test.column(spec.columns.groups).cast(pa.string()).to_pylist()
    try:
        _, sizes = group_codes(groups)
    except NotComparable as error:
        yield f"`columns.groups`: {error}"
        return
    worth = effective_groups(sizes)
    if worth < MIN_EFFECTIVE_GROUPS:
        yield (
            f"the {len(sizes)} groups of the test are worth {worth:.1f} of equal size, and the gate"
            f" needs {MIN_EFFECTIVE_GROUPS}: make `test` longer than {spec.test.days} days"
        )


def _constant(spec: ModelSpec, train: np.ndarray, test: np.ndarray) -> str:
    metric = metric_named(spec.gate.metric)
    answers = np.full(len(test), metric.constant(train.astype(np.float64)))
    figure = metric_value(spec.gate.metric, test, answers)
    return f"a constant scores the {metric.label} {figure:.4f} on them"
