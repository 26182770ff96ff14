"""Rows from a database through ADBC, as Arrow. Each engine has a file of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import pyarrow as pa
from adbc_driver_manager import AdbcStatusCode
from adbc_driver_manager.dbapi import Connection, Error

from retrain.errors import QueryFailed, SourceError, SourceRefused, SourceUnavailable
from retrain.sources.port import tables_of
from retrain.sources.statement import (
    Dialect,
    first_rows,
    no_moment,
    only_statement,
    require_distinct,
    require_event_time,
    rows_where,
)
from retrain.spec.model_file import ModelSpec

_OUTAGE_STATES = ("08", "53", "55", "57")
"""Classes of SQLSTATE (Postgres' appendix A): connection, resources, locks, operator."""
_REFUSED_STATES = ("28", "42501")
_REFUSED_CODES = {AdbcStatusCode.UNAUTHENTICATED, AdbcStatusCode.UNAUTHORIZED}
_OUTAGE_CODES = {AdbcStatusCode.IO, AdbcStatusCode.CANCELLED, AdbcStatusCode.TIMEOUT}


@dataclass(frozen=True)
class AdbcSource(ABC):
    """An open database; a `retrain.sources.port.Source`."""

    name: str
    connection: Connection

    dialect: ClassVar[Dialect]
    options: ClassVar[Mapping[str, str]] = {}
    """Of each ADBC statement."""

    moments_are_text: ClassVar[bool] = False

    @abstractmethod
    def in_range(self, event_time: str, start: datetime, end: datetime) -> str:
        """Return SQL for `start` <= event time < `end`; `event_time` is the column's name."""

    @abstractmethod
    def as_arrow(self, spec: ModelSpec, rows: pa.Table) -> pa.Table:
        """Return the rows in the types that the database means."""

    def rows(self, spec: ModelSpec, start: datetime, end: datetime) -> Iterator[pa.Table]:
        """Yield all columns of the query's rows with `start` <= event time < `end`."""
        statement = only_statement(spec, self.dialect)
        with errors_translated(self.name, spec.query):
            schema = self._all(first_rows(statement, 0)).schema
        require_distinct(spec, schema.names)
        require_event_time(spec, schema.names)
        kind = schema.field(spec.columns.event_time).type
        if not (self.moments_are_text or pa.types.is_timestamp(kind)):
            raise no_moment(spec, kind)
        selected = rows_where(statement, self.in_range(spec.columns.event_time, start, end))
        with errors_translated(self.name, spec.query):
            for rows in self._tables(selected):
                yield self.as_arrow(spec, rows)

    def head(self, spec: ModelSpec, rows: int) -> pa.Table:
        """Return at most `rows` rows of the query."""
        statement = only_statement(spec, self.dialect)
        with errors_translated(self.name, spec.query):
            found = self._all(first_rows(statement, rows))
        require_distinct(spec, found.column_names)
        return self.as_arrow(spec, found)

    def _all(self, sql: str) -> pa.Table:
        return pa.concat_tables(self._tables(sql))

    def _tables(self, sql: str) -> Iterator[pa.Table]:
        with self.connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**self.options)
            cursor.execute(sql)
            results: Any = cursor._results  # noqa: SLF001 - `fetch_record_batch` loses the SQLSTATE
            yield from tables_of(results.reader)


@contextmanager
def errors_translated(name: str, asked: str) -> Iterator[None]:
    """Raise an error of the driver as an outage, a refusal, or a query that fails.

    Args:
        name: The source's.
        asked: What was asked of the source, in a sentence.
    """
    try:
        yield
    except (Error, OSError) as error:
        raise _source_error(f"the source `{name}`", asked, error) from error


def _source_error(source: str, asked: str, error: Error | OSError) -> SourceError:
    text = str(error).split("\nQuery was:")[0].split("\nquery:")[0].strip()
    state = getattr(error, "sqlstate", None) or ""
    code = getattr(error, "status_code", AdbcStatusCode.IO)  # an OSError: the stream broke
    if state.startswith(_REFUSED_STATES) or code in _REFUSED_CODES or _is_refusal(text):
        return SourceRefused(f"{source} refuses {asked}: {text}")
    is_outage = code in _OUTAGE_CODES and not state
    if state.startswith(_OUTAGE_STATES) or is_outage or "database is locked" in text:
        return SourceUnavailable(f"{source} cannot answer {asked} now: {text}")
    return QueryFailed(f"{source} refuses {asked}: {text}")


def _is_refusal(text: str) -> bool:
    """Return True for what a person must mend, where a driver gives its text only."""
    login = ("authentication", "does not exist", "pg_hba.conf", "certificate")
    if "FATAL:" in text or "SSL error" in text:
        return any(word in text for word in login)
    return "file is not a database" in text or "Failed to connect: invalid " in text
