"""What a run would read, train and compare, without doing any of it."""

from __future__ import annotations

from datetime import datetime, timedelta

from retrain.contract import Contract, Digest, utc_text
from retrain.snapshot.snapshot import kept_weeks, reading_digest, spans_to_read
from retrain.snapshot.store import PartitionStore
from retrain.snapshot.window import Window, sliding_window, weeks_within, weeks_without_rows
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
        )
        return "\n".join(lines)


def plan_run(spec: ModelSpec, end: datetime, snapshots: str) -> RunPlan:
    """Return what `retrain run` would do.

    Args:
        spec: The model.
        end: Aware; the first moment after the window.
        snapshots: The place of the snapshot store.
    """
    window, store = sliding_window(end, months=spec.window_months), PartitionStore(snapshots)
    kept = kept_weeks(spec, window, store)
    ripe_end = utc_text(window.end - spec.label_delay)
    return RunPlan(
        model=spec.name,
        window=str(window),
        plan_digest=spec.plan_digest,
        reads=tuple(str(span) for span in spans_to_read(window, kept)),
        kept_weeks=tuple(week.partition.week for week in kept),
        weeks_without_rows=_empty_weeks(spec, window, store),
        splits=f"test is the last {_days(spec.test)} days before {ripe_end},"
        f" validation the {_days(spec.validation)} before them, train the rest;"
        f" a {spec.columns.groups} is never divided",
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


def _days(length: timedelta) -> str:
    return f"{length / timedelta(days=1):g}"
