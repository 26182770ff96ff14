"""Rows in their canonical types and order, and their digest. Only the rows decide it. Pure.

**The encoding.** Every column has one of six types and a digest. `rows_digest` is the sha256 of the
canonical JSON

    {"columns": [[name, type, digest of the column], … by name], "rows": n}

where a column's digest is the sha256 of, one after the other,

    one byte a row, 1 where there is a value and 0 where there is none: only when a value is missing
    text: the length in bytes of each row's UTF-8 as int32, then all of the UTF-8
    integer, number, moment, date: each row's value as int64, IEEE float64, int64 microseconds
        since 1970 UTC, int32 days since 1970
    boolean: one byte a row

little-endian, with 0 (or no text) where there is no value, and one bit pattern for NaN. Rows lie in
the order of their key: text by its UTF-8 bytes, whatever the locale.
Each column has its own digest, so a reader of three columns can prove those three.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retrain.contract import canonical_json, digest_of_bytes
from retrain.errors import BadColumn, DuplicateKeys

MOMENT = pa.timestamp("us", tz="UTC")
TYPE_NAMES = {
    pa.string(): "text",
    pa.int64(): "integer",
    pa.float64(): "number",
    pa.bool_(): "boolean",
    MOMENT: "moment",
    pa.date32(): "date",
}
_FIRST_MOMENT = -62_135_596_800_000_000
"""The year 1 in microseconds since 1970."""
_LAST_MOMENT = 253_402_300_799_999_999
_ZEROS = {
    "text": "",
    "integer": 0,
    "number": 0.0,
    "boolean": False,
    "moment": datetime(1970, 1, 1, tzinfo=UTC),
    "date": date(1970, 1, 1),
}

ColumnDigests = tuple[tuple[str, str, str], ...]
"""Name, type and digest of each column, by name."""


def in_canonical_types(table: pa.Table) -> pa.Table:
    """Return the rows in the six types. Decimals become numbers; a naive moment is UTC.

    A decimal becomes the number that its digits name, as a warehouse's own cast does. Arrow's cast
    is wrong in the last bit for one value in eleven (docs/facts.md).

    Raises:
        BadColumn: A column has another type, or a value that the canonical type cannot hold exactly
            (a number too large, a fraction of a microsecond).
    """
    return pa.table(
        {name: _in_canonical_type(name, table.column(name)) for name in table.column_names}
    )


def in_key_order(table: pa.Table, key: str) -> pa.Table:
    """Return the rows in the order of their key, each column in one piece.

    Raises:
        DuplicateKeys: A key names two rows; the message shows some.
    """
    table = table.combine_chunks()
    values = table.column(key)
    if not _rises(values):
        table = table.take(pc.sort_indices(values)).combine_chunks()
        values = table.column(key)
    if not _rises(values, strictly=True):
        twice = pc.unique(
            values.slice(1).filter(pc.equal(values.slice(1), values.slice(0, len(values) - 1)))
        )
        shown = ", ".join(repr(one) for one in twice[:3].to_pylist())
        raise DuplicateKeys(
            f"{len(twice)} keys of the column `{key}` name more than one row, such as {shown};"
            " make it unique in the query"
        )
    return table


def column_digests(table: pa.Table) -> ColumnDigests:
    """Return the digest of each column; the table is canonical."""
    return tuple(
        (name, TYPE_NAMES[table.schema.field(name).type], _column_digest(table.column(name)))
        for name in sorted(table.column_names)
    )


def rows_digest(columns: ColumnDigests, rows: int) -> str:
    """Return the one name of a partition's rows."""
    return digest_of_bytes(
        canonical_json({"columns": [list(column) for column in columns], "rows": rows})
    )


def _in_canonical_type(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    target = _canonical_type(column.type)
    if target is None:
        raise BadColumn(
            f"the column `{name}` has the type {column.type}, which no snapshot can hold;"
            " cast it in the query to text, number, boolean, date or timestamp"
        )
    try:
        if pa.types.is_decimal(column.type):
            column = column.cast(pa.string())
        column = column.cast(target)
    except pa.ArrowInvalid as error:
        raise BadColumn(
            f"the column `{name}` of type {column.type} has a value that"
            f" {TYPE_NAMES[target]} cannot hold exactly: {error}"
        ) from error
    if target == MOMENT and not _are_within_calendar(column):
        raise BadColumn(
            f"the column `{name}` has a moment before the year 1 or after the year 9999, such as"
            " `infinity` of a warehouse; leave such rows out in the query, or cast them"
        )
    if target == pa.float64() and pc.any(pc.is_nan(column)).as_py():
        return pc.if_else(pc.is_nan(column), pa.scalar(float("nan")), column)
    return column


def _are_within_calendar(moments: pa.ChunkedArray) -> bool:
    extremes = pc.min_max(moments.cast(pa.int64())).as_py()
    return extremes["min"] is None or (
        extremes["min"] >= _FIRST_MOMENT and extremes["max"] <= _LAST_MOMENT
    )


def _canonical_type(arrow: pa.DataType) -> pa.DataType | None:
    kinds = (
        (pa.types.is_boolean, pa.bool_()),
        (pa.types.is_integer, pa.int64()),
        (pa.types.is_floating, pa.float64()),
        (pa.types.is_decimal, pa.float64()),
        (pa.types.is_null, pa.float64()),
        (pa.types.is_string, pa.string()),
        (pa.types.is_large_string, pa.string()),
        (pa.types.is_timestamp, MOMENT),
        (pa.types.is_date, pa.date32()),
    )
    return next((target for is_kind, target in kinds if is_kind(arrow)), None)


def _rises(values: pa.ChunkedArray, *, strictly: bool = False) -> bool:
    compare = pc.less if strictly else pc.less_equal
    return len(values) < 2 or bool(
        pc.all(compare(values.slice(0, len(values) - 1), values.slice(1))).as_py()
    )


def _column_digest(column: pa.ChunkedArray) -> str:
    values = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    digest = hashlib.sha256()
    if values.null_count:
        digest.update(pc.cast(pc.is_valid(values), pa.uint8()).to_numpy(zero_copy_only=False))
        values = pc.fill_null(values, pa.scalar(_ZEROS[TYPE_NAMES[values.type]], values.type))
    for piece in _value_bytes(values) if len(values) else ():
        digest.update(piece)
    return "sha256:" + digest.hexdigest()


def _value_bytes(values: pa.Array) -> Iterator[Any]:
    """Yield the bytes of a column without missing values.

    Arrow's own buffers serve where they are the encoding already.
    """
    if values.type == pa.string():
        offsets = np.frombuffer(values.buffers()[1], np.int32)[
            values.offset : values.offset + len(values) + 1
        ]
        yield np.diff(offsets)
        yield memoryview(values.buffers()[2] or b"")[offsets[0] : offsets[-1]]
    elif values.type == pa.bool_():
        yield pc.cast(values, pa.uint8()).to_numpy()
    else:
        width = values.type.bit_width // 8
        yield memoryview(values.buffers()[1])[
            values.offset * width : (values.offset + len(values)) * width
        ]
