"""What a run would read, train and compare, without doing any of it."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from retrain.comparison.intervals import MIN_EFFECTIVE_GROUPS
from retrain.contract import Contract, Digest
from retrain.snapshot.snapshot import kept_weeks, reading_digest, spans_to_read
from retrain.snapshot.store import PartitionStore
from retrain.snapshot.window import (
    Cut,
    GroupTimes,
    Window,
    cut,
    sliding_window,
    weeks_within,
    weeks_without_rows,
)
from retrain.spec.model_file import ModelSpec


class RunPlan(Contract):
    """A run, before it starts."""

    model: str
    window: str
    plan_digest: Digest
    reads: tuple[str, ...]
    """Spans that are read from the source."""
    kept_weeks: tuple[str, ...]
    """Weeks that are taken from the store."""
    weeks_without_rows: tuple[str, ...]
    """The last weeks that held no rows when a run read them; a later run may find some."""
    splits: str
    """As they fall when every day has rows."""
    warnings: tuple[str, ...]
    techniques: tuple[str, ...]
    compares: str

    def as_text(self) -> str:
        """The plan for a person, a line for each step."""
        kept, behind = "nothing from the store", ""
        if self.kept_weeks:
            first, last = self.kept_weeks[0], self.kept_weeks[-1]
            kept = f"{len(self.kept_weeks)} weeks from the store ({first} to {last})"
        if self.weeks_without_rows:
            behind = f"; {', '.join(self.weeks_without_rows)} held no rows when last read"
        lines = (
            f"{self.model} over {self.window}, plan {self.plan_digest[:19]}",
            f"reads     {', '.join(self.reads) or 'nothing'} from the source; {kept}{behind}",
            f"splits    {self.splits}",
            *(f"trains    {technique}" for technique in self.techniques),
            f"compares  {self.compares}",
            *(f"warning   {warning}" for warning in self.warnings),
        )
        return "\n".join(lines)


def plan_run(spec: ModelSpec, end: datetime, snapshots: str) -> RunPlan:
    """Return what `retrain run` would do.

    Args:
        spec: The model.
        end: Aware; the first moment after the window.
        snapshots: The place of the snapshot store.

    Raises:
        WindowTooEmpty: A split would have no day, however many rows there are.
    """
    window, store = sliding_window(end, months=spec.window_months), PartitionStore(snapshots)
    kept = kept_weeks(spec, window, store)
    expected = expected_cut(spec, window)
    return RunPlan(
        model=spec.name,
        window=str(window),
        plan_digest=spec.plan_digest,
        reads=tuple(str(span) for span in spans_to_read(window, kept)),
        kept_weeks=tuple(week.partition.week for week in kept),
        weeks_without_rows=_empty_weeks(spec, window, store),
        splits=_splits(spec, expected),
        warnings=_warnings(spec, expected),
        techniques=tuple(
            f"{name}: {technique.estimator} {technique.params or ''}".rstrip()
            for name, technique in spec.techniques.items()
        ),
        compares=f"techniques by {spec.gate.metric} on validation; the winner, refit on train and"
        " validation, is the challenger that promote judges on test",
    )


def _empty_weeks(spec: ModelSpec, window: Window, store: PartitionStore) -> tuple[str, ...]:
    """Return the last weeks that a run has read without a row.

    The index has no entry for such a week, but says until when the weeks before were read.
    """
    reading = reading_digest(spec)
    entries = [entry for week in weeks_within(window) if (entry := store.recall(reading, week))]
    if not entries:
        return ()
    last_read = max(entry.read_until for entry in entries)
    span = Window(window.start, min(window.end, last_read))
    with_rows = [entry.partition.week for entry in entries]
    return weeks_without_rows(span, with_rows, label_delay=spec.label_delay)


def expected_cut(spec: ModelSpec, window: Window) -> Cut:
    """Return the splits of a window in which each UTC day is a group with rows.

    Raises:
        WindowTooEmpty: A split would have no day.
    """
    days = np.arange(f"{window.start:%Y-%m-%d}", f"{window.end:%Y-%m-%d}", dtype="datetime64[D]")
    first = days.astype("datetime64[us]")
    last = np.array(first + np.timedelta64(86_399_999_999, "us"), "datetime64[us]")
    groups = GroupTimes(days.astype(str), first, last, np.ones(len(days), np.int64))
    lengths = {"validation": spec.validation, "test": spec.test}
    return cut(window, groups, label_delay=spec.label_delay, **lengths)


def _splits(spec: ModelSpec, expected: Cut) -> str:
    parts = {"train": expected.train, "validation": expected.validation, "test": expected.test}
    named = ", ".join(
        f"{name} {split.groups[0]} to {split.groups[-1]} ({len(split.groups)} days)"
        for name, split in parts.items()
    )
    return f"{named}, when every day has rows; a {spec.columns.groups} is never divided"


def _warnings(spec: ModelSpec, expected: Cut) -> tuple[str, ...]:
    """Return what the gate will refuse, whatever the rows are."""
    days = len(expected.test.groups)
    if days >= MIN_EFFECTIVE_GROUPS:
        return ()
    return (
        f"a test of {days} days gives at most {days} groups of a day, and the gate needs rows worth"
        f" {MIN_EFFECTIVE_GROUPS}: make `test` longer, unless a {spec.columns.groups} is shorter",
    )
