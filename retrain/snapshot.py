"""The manifest of a window: which weekly partitions hold its rows, and which rows train, validate and test. Published: promote reads splits with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import groupby
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retrain.contract import Partition, Snapshot, Split, canonical_json
from retrain.errors import BadColumn, DuplicateKeys, MissingColumn, WindowTooEmpty
from retrain.partitions import PartitionStore, Remembered, read_partition
from retrain.rows import MOMENT, in_canonical_types, in_key_order
from retrain.spec import ModelSpec
from retrain.window import GroupTimes, Window, cut, sliding_window, week_bounds, week_of, weeks_within

LOOK_BACK = timedelta(days=7)
"""How far before the window rows are looked at, to see which groups began before it."""

_THREADS = 4
"""Reading and hashing release the interpreter; more threads than cores hide the disk."""


class RowSource(Protocol):
    """Gives rows of a time range; `retrain.source` has the real one."""

    def rows(self, spec: ModelSpec, window: Window) -> pa.Table:
        """Return all columns of the query's rows whose event time lies in the window, in any order."""


def build_snapshot(spec: ModelSpec, end: datetime, source: RowSource, store: PartitionStore) -> Snapshot:
    """Return the snapshot of the window before `end`; reads only weeks that the store lacks or that may still have changed.

    A week may change until `late_rows` after it: what was read by a run that ended before that is read again.

    Raises:
        WindowTooEmpty: No rows, or too few groups to split.
        MissingColumn, BadColumn, DuplicateKeys: The query's rows cannot be a snapshot.
        SourceUnavailable, StoreUnavailable: Transient.
    """
    window = sliding_window(end, months=spec.window_months)
    kept = kept_weeks(spec, window, store)
    read = [partition for span in spans_to_read(spec, window, store) for partition in _read_weeks(spec, span, source, store, window.end)]
    partitions = sorted([*kept, *read], key=lambda partition: partition.week)
    if not partitions:
        raise WindowTooEmpty(f"the query {spec.query} returns no rows in the window {window}; load them, or choose another --end")
    times = _group_times(spec, partitions)
    splits = cut(window, times, label_delay=spec.label_delay, validation=spec.validation, test=spec.test)
    return Snapshot(
        query_digest=spec.query_digest,
        **spec.columns.model_dump(),
        train=splits.train,
        validation=splits.validation,
        test=splits.test,
        partitions=tuple(partitions),
    )


def kept_weeks(spec: ModelSpec, window: Window, store: PartitionStore) -> list[Partition]:
    """Return the partitions that a run takes from the store: read at least `late_rows` after their week had ended."""
    kept = []
    for week in weeks_within(_looked_at(window)):
        over = week_bounds(week).end
        remembered = store.recall(spec.query_digest, week)
        if remembered and over <= window.end and over + max(spec.late_rows, spec.label_delay) <= remembered.read_until:
            kept.append(remembered.partition)
    return kept


def spans_to_read(spec: ModelSpec, window: Window, store: PartitionStore) -> list[Window]:
    """Return what a run reads from the source, neighbouring weeks as one span, none of it behind the window's end."""
    kept = {partition.week for partition in kept_weeks(spec, window, store)}
    weeks = [(index, week) for index, week in enumerate(weeks_within(_looked_at(window))) if week not in kept]
    runs = [[week for _, week in run] for _, run in groupby(enumerate(weeks), key=lambda pair: pair[1][0] - pair[0])]
    return [Window(week_bounds(run[0][1]).start, min(week_bounds(run[-1][1]).end, window.end)) for run in runs]


def read_split(snapshot: Snapshot, split: Split, columns: Sequence[str] | None = None) -> pa.Table:
    """Return a split's rows, by week and in key order; every column read is proven by its digest.

    Args:
        snapshot: The manifest; where its partitions lie is in their `uri`.
        split: One of the snapshot's three.
        columns: Those wanted, in this order; all when None.

    Raises:
        MissingColumn: The snapshot has no such column.
        PartitionMissing, PartitionCorrupt: A file is not there, or does not hold the rows that the snapshot names.
    """
    needed = None if columns is None else {*columns, snapshot.groups, snapshot.event_time}
    first, last = week_of(split.start), week_of(split.end)
    chosen = [partition for partition in snapshot.partitions if first <= partition.week <= last]
    groups = pa.array(split.groups, pa.string())

    def rows_of(partition: Partition) -> pa.Table:
        rows = read_partition(partition, None if needed is None else sorted(needed))
        if missing := sorted((needed or set()) - set(rows.column_names)):
            raise MissingColumn(f"the snapshot has no column `{missing[0]}`; it has {', '.join(rows.column_names)}")
        moment = rows.column(snapshot.event_time)
        inside = pc.and_(pc.greater_equal(moment, pa.scalar(split.start, MOMENT)), pc.less(moment, pa.scalar(split.end, MOMENT)))
        return rows.filter(pc.and_(inside, pc.is_in(_as_text(rows.column(snapshot.groups)), value_set=groups)))

    rows = pa.concat_tables(_side_by_side(rows_of, chosen)).combine_chunks()
    return rows if columns is None else rows.select(list(columns))


def is_unchanged(snapshot: Snapshot, last: Snapshot) -> bool:
    """True when every partition of the window is already in `last`, the snapshot of the last registered run of the same plan."""
    known = {(partition.week, partition.rows_digest) for partition in last.partitions}
    return snapshot.query_digest == last.query_digest and {(partition.week, partition.rows_digest) for partition in snapshot.partitions} <= known


def snapshot_to_bytes(snapshot: Snapshot) -> bytes:
    """Return the bytes of `snapshot.json`."""
    return canonical_json(snapshot.model_dump(mode="json"))


def snapshot_from_bytes(content: bytes) -> Snapshot:
    """Return the snapshot that `snapshot.json` says."""
    return Snapshot.model_validate_json(content)


def checked_rows(spec: ModelSpec, table: pa.Table) -> pa.Table:
    """Return a query's rows in canonical types, when they have what the YAML names.

    Raises:
        MissingColumn: With every column that is missing.
        BadColumn: A type, or a missing value where none may be.
    """
    columns = spec.columns
    needed = [columns.key, columns.event_time, columns.label, columns.groups, *(feature.name for feature in spec.features)]
    if missing := [name for name in needed if name not in table.column_names]:
        raise MissingColumn(
            f"{spec.query} does not return {', '.join(f'`{name}`' for name in missing)}, which the YAML names; it returns {', '.join(table.column_names)}"
        )
    rows = in_canonical_types(table)
    allowed = {
        columns.key: ("key", (pa.string(), pa.int64())),
        columns.event_time: ("event_time", (MOMENT,)),
        columns.label: ("label", (pa.bool_(), pa.int64())),
        columns.groups: ("groups", (pa.string(), pa.int64(), pa.bool_(), pa.date32())),
    }
    for name, (part, types) in allowed.items():
        found = rows.column(name)
        if found.type not in types:
            raise BadColumn(
                f"{spec.query} returns `{name}` as {table.column(name).type}; as {part} it must be {' or '.join(str(kind) for kind in types)}: cast it in the query"
            )
        if found.null_count:
            raise BadColumn(
                f"{spec.query} returns {found.null_count} rows without `{name}`; as {part} it must have a value in every row: leave such rows out in the query"
            )
    return rows


def _looked_at(window: Window) -> Window:
    return Window(window.start - LOOK_BACK, window.end)


def _read_weeks(spec: ModelSpec, span: Window, source: RowSource, store: PartitionStore, end: datetime) -> Iterator[Partition]:
    """A week without rows has no partition."""
    table = checked_rows(spec, source.rows(spec, span))
    moments = table.column(spec.columns.event_time)
    for week in weeks_within(span):
        bounds = week_bounds(week)
        inside = pc.and_(pc.greater_equal(moments, pa.scalar(bounds.start, MOMENT)), pc.less(moments, pa.scalar(bounds.end, MOMENT)))
        rows = table.filter(inside)
        if rows.num_rows:
            partition = store.write(week, in_key_order(rows, spec.columns.key))
            store.remember(spec.query_digest, Remembered(partition=partition, read_until=end))
            yield partition


def _group_times(spec: ModelSpec, partitions: Sequence[Partition]) -> GroupTimes:
    """Keys are compared over the whole window here, for a week by itself is already in key order."""
    columns = spec.columns
    needed = [columns.key, columns.event_time, columns.groups]
    rows = pa.concat_tables(_side_by_side(lambda partition: read_partition(partition, needed), partitions))
    distinct = pc.count_distinct(rows.column(columns.key)).as_py()
    if distinct != rows.num_rows:
        raise DuplicateKeys(
            f"{rows.num_rows - distinct} rows of {spec.query} have a key `{columns.key}` that a row of another week has; make it unique in the query"
        )
    spans = rows.group_by(columns.groups).aggregate([(columns.event_time, "min"), (columns.event_time, "max"), (columns.event_time, "count")])
    return GroupTimes(
        names=np.asarray(_as_text(spans.column(columns.groups)).to_pylist(), dtype=np.str_),
        first=spans.column(f"{columns.event_time}_min").cast(pa.timestamp("us")).to_numpy(),
        last=spans.column(f"{columns.event_time}_max").cast(pa.timestamp("us")).to_numpy(),
        rows=spans.column(f"{columns.event_time}_count").to_numpy(),
    )


def _as_text(groups: pa.ChunkedArray) -> pa.ChunkedArray:
    return groups.cast(pa.string())


def _side_by_side(read: Callable[[Partition], pa.Table], partitions: Sequence[Partition]) -> list[pa.Table]:
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(read, partitions))
