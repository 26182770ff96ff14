"""Rows from an SQLite file: `sqlite:///absolute/path.sqlite`.

SQLite knows whole numbers, numbers and text only. The model file says which columns are true or
false, and which are numbers. Moments and dates are ISO 8601 text; without a time zone they are UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, urlsplit

import adbc_driver_sqlite.dbapi
import pyarrow as pa
import pyarrow.compute as pc

from retrain.contract import FeatureType
from retrain.errors import BadColumn, SourceUnavailable, UnknownSource
from retrain.sources.adbc import AdbcSource, errors_translated
from retrain.sources.statement import no_moment
from retrain.spec.model_file import ModelSpec

_MOMENT = pa.timestamp("us", tz="UTC")
_TYPES: dict[FeatureType, pa.DataType] = {
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "category": pa.string(),
}
_ISO_DATE = r"^\d{4}-\d{2}-\d{2}$"


class SqliteSource(AdbcSource):
    """An open SQLite file."""

    dialect = "sqlite"
    # The driver takes a column's type from a batch's rows. One batch: the type fits every row, and
    # all rows of a range are in memory.
    options: ClassVar = {"adbc.sqlite.query.batch_rows": "2000000000"}

    moments_are_text = True

    def in_range(self, event_time: str, start: datetime, end: datetime) -> str:
        """Return SQL that also selects event times which SQLite cannot read; they are refused."""
        moment = f'julianday("{event_time}")'
        is_unreadable = f'"{event_time}" IS NOT NULL AND {moment} IS NULL'
        is_within = f"{moment} >= {_julian_day(start)} AND {moment} < {_julian_day(end)}"
        return f"({is_unreadable} OR {is_within})"

    def as_arrow(self, spec: ModelSpec, rows: pa.Table) -> pa.Table:
        """Return the rows in the types of the model file."""
        for index, name in enumerate(rows.column_names):
            column = rows.column(index)
            if name == spec.columns.event_time:
                column = _moments(spec, column)
            elif name in _types_of(spec):
                column = _cast(spec, name, column)
            elif _holds_dates(column):
                column = column.cast(pa.date32())
            rows = rows.set_column(index, name, column)
        return rows


def _julian_day(moment: datetime) -> str:
    """Return SQLite's number for a moment. SQLite cuts moments to milliseconds, never rounds up."""
    text = moment.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds")
    return f"julianday('{text}')"


def _moments(spec: ModelSpec, column: pa.ChunkedArray) -> pa.ChunkedArray:
    texts = column.to_pylist()
    if not pa.types.is_string(column.type) and column.null_count < len(column):
        raise no_moment(spec, column.type)
    try:
        moments = [None if text is None else datetime.fromisoformat(text) for text in texts]
    except ValueError as error:
        raise BadColumn(
            f"the event time `{spec.columns.event_time}` of {spec.query} has a value that is no"
            " ISO 8601 moment, such as 2013-06-01 06:00:00"
        ) from error
    aware = [m if m is None or m.tzinfo else m.replace(tzinfo=UTC) for m in moments]
    return pa.chunked_array([pa.array(aware, _MOMENT)])


def _cast(spec: ModelSpec, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = _TYPES[_types_of(spec)[name]]
    if pa.types.is_string(column.type) and kind != pa.string():
        raise BadColumn(
            f"the column `{name}` of {spec.query} holds text, and the model file reads a {kind};"
            " cast it in the query"
        )
    try:
        return column.cast(kind)
    except pa.ArrowInvalid as error:
        raise BadColumn(
            f"the column `{name}` of {spec.query} has a value that is no {kind}: {error}"
        ) from error


def _types_of(spec: ModelSpec) -> dict[str, FeatureType]:
    types = {feature.name: feature.type for feature in spec.features}
    return {**types, spec.columns.label: "boolean"}


def _holds_dates(column: pa.ChunkedArray) -> bool:
    if not pa.types.is_string(column.type) or column.null_count == len(column):
        return False
    return bool(pc.all(pc.match_substring_regex(column, _ISO_DATE)).as_py())


@contextmanager
def open_source(name: str, address: str) -> Iterator[SqliteSource]:
    """Give the warehouse called `name`; it is closed at the end.

    Raises:
        UnknownSource: The address is no absolute path.
        SourceUnavailable: The file is not there yet.
        SourceRefused: The file is no SQLite database, or this user may not read it.
    """
    parts = urlsplit(address)
    if parts.netloc or not parts.path.strip("/"):
        raise UnknownSource(
            f"RETRAIN_SOURCES gives `{name}` an address that retrain cannot open; it must be"
            " sqlite:///absolute/path.sqlite"
        )
    if not Path(parts.path).exists():
        raise SourceUnavailable(
            f"the source `{name}` is {parts.path}, which is not there; load the rows first,"
            " or correct RETRAIN_SOURCES"
        )
    with errors_translated(name, "to be opened"):
        connection = adbc_driver_sqlite.dbapi.connect(
            f"file:{quote(parts.path)}?mode=ro", autocommit=True
        )
    with connection:
        yield SqliteSource(name, connection)
