"""What the query's rows must be to become a snapshot.

They have the columns that the YAML names, keys that each name one row, and groups with their times.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retrain.errors import BadColumn, DuplicateKeys, MissingColumn
from retrain.snapshot.canonical_rows import MOMENT, TYPE_NAMES, in_canonical_types
from retrain.snapshot.partitions import read_partition
from retrain.snapshot.store import GroupSpan, ReadWeek
from retrain.snapshot.window import GroupTimes, moment64
from retrain.spec.model_file import Columns, ModelSpec

_TYPES = {name: kind for kind, name in TYPE_NAMES.items()}


def checked_rows(spec: ModelSpec, table: pa.Table) -> pa.Table:
    """Return a query's rows in canonical types, when they have what the YAML names.

    Raises:
        MissingColumn: With every column that is missing.
        BadColumn: A type, or a missing value where none may be.
    """
    columns = spec.columns
    needed = [*columns.model_dump().values(), *(feature.name for feature in spec.features)]
    if missing := [name for name in needed if name not in table.column_names]:
        quoted = ", ".join(f"`{name}`" for name in missing)
        raise MissingColumn(
            f"{spec.query} does not return {quoted}, which the YAML names;"
            f" it returns {', '.join(table.column_names)}"
        )
    rows = in_canonical_types(table)
    allowed = {
        columns.key: ("key", (pa.string(), pa.int64())),
        columns.event_time: ("event_time", (MOMENT,)),
        columns.label: ("label", tuple(_TYPES[name] for name in spec.the_task.label_types)),
        columns.groups: ("groups", (pa.string(), pa.int64(), pa.bool_(), pa.date32())),
    }
    if columns.weight is not None:
        allowed[columns.weight] = ("weight", (pa.int64(), pa.float64()))
    for name, (part, types) in allowed.items():
        column = rows.column(name)
        if column.type not in types:
            choice = " or ".join(str(kind) for kind in types)
            raise BadColumn(
                f"{spec.query} returns `{name}` as {table.column(name).type};"
                f" as {part} it must be {choice}: cast it in the query"
            )
        if column.null_count:
            raise BadColumn(
                f"{spec.query} returns at least {column.null_count} rows without `{name}`;"
                f" as {part} it must have a value in every row: leave such rows out in the query"
            )
    return rows


def group_spans(rows: pa.Table, columns: Columns) -> tuple[GroupSpan, ...]:
    """Return each group's first and last moment and its number of rows, by name."""
    moment = columns.event_time
    spans = rows.group_by(columns.groups).aggregate(
        [(moment, "min"), (moment, "max"), (moment, "count")]
    )
    by_field = pa.table(
        {
            "name": spans.column(columns.groups).cast(pa.string()),
            "first": spans.column(f"{moment}_min"),
            "last": spans.column(f"{moment}_max"),
            "rows": spans.column(f"{moment}_count"),
        }
    )
    return tuple(GroupSpan(**span) for span in by_field.sort_by("name").to_pylist())


def group_times(weeks: Iterable[ReadWeek]) -> GroupTimes:
    """Return the groups of several weeks. A group that lies in two weeks is joined."""
    joined: dict[str, tuple[datetime, datetime, int]] = {}
    for span in (span for week in weeks for span in week.groups):
        first, last, rows = joined.get(span.name, (span.first, span.last, 0))
        joined[span.name] = (min(first, span.first), max(last, span.last), rows + span.rows)
    return GroupTimes(
        names=np.asarray(list(joined), np.str_),
        first=np.asarray(
            [moment64(first) for first, _, _ in joined.values()], np.dtype("datetime64[us]")
        ),
        last=np.asarray(
            [moment64(last) for _, last, _ in joined.values()], np.dtype("datetime64[us]")
        ),
        rows=np.asarray([rows for _, _, rows in joined.values()], np.int64),
    )


def prove_keys_distinct(spec: ModelSpec, weeks: Sequence[ReadWeek]) -> None:
    """Raise DuplicateKeys when two weeks have a key in common.

    Only weeks whose ranges of keys overlap are read.
    """
    ranges: list[tuple[Any, Any]] = sorted((week.lowest_key, week.highest_key) for week in weeks)
    if all(before[1] < after[0] for before, after in pairwise(ranges)):
        return
    keys = pa.concat_tables(
        [read_partition(week.partition, [spec.columns.key]) for week in weeks]
    ).column(spec.columns.key)
    repeated = len(keys) - pc.count_distinct(keys).as_py()
    if repeated:
        raise DuplicateKeys(
            f"{repeated} rows of {spec.query} have a key `{spec.columns.key}` that a row of another"
            " week has; make it unique in the query"
        )
