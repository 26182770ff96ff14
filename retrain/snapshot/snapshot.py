"""The manifest of a window: the weekly partitions with its rows, and the rows of each split.

Published: promote reads splits with `read_split`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from retrain.contract import Digest, Partition, Snapshot, Split, digest_of_json
from retrain.errors import MissingColumn, WindowTooEmpty
from retrain.snapshot.canonical_rows import in_key_order
from retrain.snapshot.checks import checked_rows, group_spans, group_times, prove_keys_distinct
from retrain.snapshot.partitions import read_partition
from retrain.snapshot.rows_by_week import RowsByWeek, inside
from retrain.snapshot.store import PartitionStore, ReadWeek
from retrain.snapshot.window import (
    Window,
    cut,
    fixed_split,
    outside_of,
    sliding_window,
    week_bounds,
    weeks_within,
)
from retrain.sources.port import RowSource
from retrain.spec.model_file import FixedTest, ModelSpec

T = TypeVar("T")
R = TypeVar("R")

LOOK_BACK = timedelta(days=7)
"""How far before the window rows are looked at, to see which groups began before it."""

_THREADS = 4
"""Reading and hashing release the interpreter; more threads than cores hide the disk."""
_WEEKS_IN_MEMORY = 2
"""While the rows of a span are kept: one week is sorted while another is written."""


def build_snapshot(
    spec: ModelSpec, end: datetime, source: RowSource, store: PartitionStore
) -> Snapshot:
    """Return the snapshot of the window before `end`.

    Reads only weeks that the store lacks, and weeks that may still have changed.

    Raises:
        WindowTooEmpty: No rows, or too few groups to split.
        MissingColumn, BadColumn, DuplicateKeys: The query's rows cannot be a snapshot.
        SourceUnavailable, StoreUnavailable: Transient.
    """
    window = sliding_window(end, months=spec.window_months)
    weeks = _weeks(spec, window, source, store, end=window.end)
    if not weeks:
        raise WindowTooEmpty(
            f"the query {spec.query} returns no rows in the window {window};"
            " load them, or choose another --end"
        )
    groups, fixed_test = group_times(weeks), None
    if spec.fixed_test is not None:
        days = _days_of(spec.fixed_test, spec, window.end)
        near = Window(days.start, min(days.end + LOOK_BACK, window.end))
        weeks = _joined(weeks, _weeks(spec, near, source, store, present=weeks, end=window.end))
        around = weeks_within(_looked_at(near))
        fixed = group_times(week for week in weeks if week.partition.week in around)
        fixed_test, groups = fixed_split(days, fixed), outside_of(days, fixed, groups)
    prove_keys_distinct(spec, weeks)
    splits = cut(
        window,
        groups,
        label_delay=spec.label_delay,
        validation=spec.validation,
        test=spec.test,
    )
    return Snapshot(
        query_digest=spec.query_digest,
        **spec.columns.model_dump(exclude={"weight"}),
        train=splits.train,
        validation=splits.validation,
        test=splits.test,
        partitions=tuple(week.partition for week in weeks),
        fixed_test=fixed_test,
    )


def _weeks(
    spec: ModelSpec,
    window: Window,
    source: RowSource,
    store: PartitionStore,
    *,
    end: datetime,
    present: Sequence[ReadWeek] = (),
) -> list[ReadWeek]:
    """Return the weeks of a window that are not `present`, from the store or from the source.

    Args:
        spec: The model.
        window: Which weeks.
        source: Asked for weeks that the store lacks.
        store: Where weeks are kept.
        end: Of the run.
        present: Weeks that the run has already.
    """
    names = {week.partition.week for week in present}
    kept = [one for one in kept_weeks(spec, window, store) if one.partition.week not in names]
    read = [
        week
        for span in spans_to_read(window, [*present, *kept])
        for week in _read_span(spec, span, source, store, end)
    ]
    return _joined(kept, read)


def _joined(some: Sequence[ReadWeek], others: Sequence[ReadWeek]) -> list[ReadWeek]:
    return sorted([*some, *others], key=lambda week: week.partition.week)


def _days_of(fixed_test: FixedTest, spec: ModelSpec, end: datetime) -> Window:
    """Return the days of the fixed test, whose labels must be known before `end`."""
    first, to = (
        datetime(day.year, day.month, day.day, tzinfo=UTC)
        for day in (fixed_test.first, fixed_test.to)
    )
    if to + spec.label_delay > end:
        raise WindowTooEmpty(
            f"`fixed_test` ends on {fixed_test.to}, and its labels are known {spec.label_delay}"
            f" later; the window ends at {end:%Y-%m-%d}: choose earlier days, or a later --end"
        )
    return Window(first, to)


def kept_weeks(spec: ModelSpec, window: Window, store: PartitionStore) -> list[ReadWeek]:
    """Return the weeks that a run takes from the store.

    A run read them so long after their end that no row can have changed since.
    """
    kept = []
    for week in weeks_within(_looked_at(window)):
        over = week_bounds(week).end
        read_week = store.recall(reading_digest(spec), week)
        if (
            read_week
            and over <= window.end
            and over + max(spec.late_rows, spec.label_delay) <= read_week.read_until
        ):
            kept.append(read_week)
    return kept


def spans_to_read(window: Window, kept: Sequence[ReadWeek]) -> list[Window]:
    """Return what a run reads from the source, up to the window's end.

    Neighbouring weeks are one span.
    """
    in_store = {read_week.partition.week for read_week in kept}
    spans: list[Window] = []
    for week in weeks_within(_looked_at(window)):
        bounds = week_bounds(week)
        if week not in in_store:
            joined = spans.pop().start if spans and spans[-1].end == bounds.start else bounds.start
            spans.append(Window(joined, min(bounds.end, window.end)))
    return spans


def reading_digest(spec: ModelSpec) -> Digest:
    """Return the digest of source, query and columns. The store's index has weeks by this name."""
    return digest_of_json(
        {"source": spec.source, "query": spec.query_digest, "columns": spec.columns.model_dump()}
    )


def partitions_of(snapshot: Snapshot, split: Split) -> list[Partition]:
    """Return the partitions whose week shares a moment with a split."""
    weeks = weeks_within(Window(split.start, split.end))
    return [partition for partition in snapshot.partitions if partition.week in weeks]


def read_split(snapshot: Snapshot, split: Split, columns: Sequence[str] | None = None) -> pa.Table:
    """Return a split's rows, by week and in key order; every column read is proven by its digest.

    Args:
        snapshot: The manifest; where its partitions lie is in their `uri`.
        split: One of the snapshot's.
        columns: Those wanted, in this order; all when None.

    Raises:
        MissingColumn: The snapshot has no such column.
        PartitionMissing, PartitionCorrupt: A file is not there, or holds other rows than the
            snapshot names.
    """

    def rows_of(partition: Partition) -> pa.Table:
        return _rows_of_week(snapshot, split, partition, columns)

    return pa.concat_tables(_side_by_side(rows_of, partitions_of(snapshot, split)))


def split_weeks(
    snapshot: Snapshot, split: Split, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Yield a split's rows week by week; otherwise as `read_split`."""
    for partition in partitions_of(snapshot, split):
        yield _rows_of_week(snapshot, split, partition, columns)


def _rows_of_week(
    snapshot: Snapshot, split: Split, partition: Partition, columns: Sequence[str] | None
) -> pa.Table:
    needed = None if columns is None else sorted({*columns, snapshot.groups, snapshot.event_time})
    rows = read_partition(partition, needed)
    if missing := sorted(set(needed or ()) - set(rows.column_names)):
        raise MissingColumn(
            f"the snapshot has no column `{missing[0]}`; it has {', '.join(rows.column_names)}"
        )
    chosen = pc.and_(
        inside(rows.column(snapshot.event_time), Window(split.start, split.end)),
        _in_groups(rows.column(snapshot.groups), split.groups),
    )
    rows = rows if pc.all(chosen).as_py() else rows.filter(chosen)
    return rows if columns is None else rows.select(list(columns))


def is_unchanged(snapshot: Snapshot, last: Snapshot) -> bool:
    """Say whether `last` has every partition of the window.

    Args:
        snapshot: Of this run.
        last: Of the last registered run of the same plan.
    """
    ours, theirs = (
        {(partition.week, partition.rows_digest) for partition in one.partitions}
        for one in (snapshot, last)
    )
    return snapshot.query_digest == last.query_digest and ours <= theirs


def _looked_at(window: Window) -> Window:
    return Window(window.start - LOOK_BACK, window.end)


def _read_span(
    spec: ModelSpec, span: Window, source: RowSource, store: PartitionStore, end: datetime
) -> list[ReadWeek]:
    """Read a span by one query and keep it by weeks; a week without rows has no partition.

    Every row is checked before a week is kept.
    """
    with RowsByWeek(spec.columns.event_time) as by_week:
        for rows in source.rows(spec, span.start, span.end):
            by_week.add(checked_rows(spec, rows))

        def keep(week: str) -> ReadWeek | None:
            rows = by_week.take(week)
            if rows is None:
                return None
            return _keep(spec, week, in_key_order(rows, spec.columns.key), store, end)

        kept = _side_by_side(keep, weeks_within(span), threads=_WEEKS_IN_MEMORY)
    return [read_week for read_week in kept if read_week]


def _keep(
    spec: ModelSpec, week: str, rows: pa.Table, store: PartitionStore, end: datetime
) -> ReadWeek:
    partition = store.write(week, rows)
    keys = rows.column(spec.columns.key)
    read_week = ReadWeek(
        partition=partition,
        read_until=end,
        lowest_key=keys[0].as_py(),
        highest_key=keys[-1].as_py(),
        groups=group_spans(rows, spec.columns),
    )
    store.remember(reading_digest(spec), read_week)
    return read_week


def _in_groups(groups: pa.ChunkedArray, names: Sequence[str]) -> pa.ChunkedArray:
    """Only the distinct groups are turned into text: a week has many rows and few groups."""
    distinct = pc.unique(groups)
    chosen = distinct.filter(
        pc.is_in(distinct.cast(pa.string()), value_set=pa.array(names, pa.string()))
    )
    return pc.is_in(groups, value_set=chosen)


def _side_by_side(
    step: Callable[[T], R], values: Sequence[T], *, threads: int = _THREADS
) -> list[R]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(step, values))
