"""Rows of a time range from a DuckDB file, through Ibis.

The file is open read-only and only while rows are read, because others write between runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import ibis
import pyarrow as pa
from ibis.expr.operations import SQLQueryResult

from retrain.errors import (
    MissingColumn,
    QueryFailed,
    SourceError,
    SourceRefused,
    SourceUnavailable,
    UnknownSource,
)
from retrain.spec.model_file import ModelSpec

_OUTAGES = (
    duckdb.ConnectionException,
    duckdb.IOException,
    duckdb.ResourceInUseException,
    duckdb.TransactionException,
)
_PASSING_STATUSES = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS, *range(500, 600)}
_DUCKDB_MAGIC = slice(8, 12), b"DUCK"


@dataclass(frozen=True)
class DuckdbSource:
    """An open DuckDB file; a `retrain.sources.port.Source`."""

    name: str
    connection: Any
    """An Ibis backend."""

    def rows(self, spec: ModelSpec, start: datetime, end: datetime) -> pa.Table:
        """Return all columns of the query's rows with `start` <= event time < `end`."""
        with self._errors_translated(spec):
            query = self._query(spec)
            if spec.columns.event_time not in query.columns:
                raise MissingColumn(
                    f"{spec.query} does not return `{spec.columns.event_time}`, the event time;"
                    f" it returns {', '.join(query.columns)}"
                )
            moment = query[spec.columns.event_time]
            return query.filter(
                moment >= _literal(moment, start), moment < _literal(moment, end)
            ).to_pyarrow()

    def head(self, spec: ModelSpec, rows: int) -> pa.Table:
        """Return at most `rows` rows of the query."""
        with self._errors_translated(spec):
            return self._query(spec).limit(rows).to_pyarrow()

    def _query(self, spec: ModelSpec) -> Any:
        """Return the query as an Ibis table.

        `connection.sql` of Ibis 12 cannot: it finds a query's columns by a method that DuckDB 2.0
        lacks. A query for no rows tells the columns.
        """
        text = spec.query_text.rstrip().removesuffix(";")
        columns = ibis.Schema.from_pyarrow(
            self.connection.con.sql(text).limit(0).to_arrow_table().schema
        )
        return SQLQueryResult(text, columns, self.connection).to_expr()

    @contextmanager
    def _errors_translated(self, spec: ModelSpec) -> Iterator[None]:
        try:
            yield
        except (duckdb.Error, ibis.IbisError) as error:
            raise _query_error(f"the source `{self.name}`", spec, error) from error


def _query_error(source: str, spec: ModelSpec, error: Exception) -> SourceError:
    """Return an error of DuckDB as an outage, a refusal, or a query that fails.

    An HTTP answer for a bucket's file is an IOException too. Without a status nobody answered.
    """
    status = getattr(error, "status_code", 0)
    if isinstance(error, duckdb.HTTPException) and status and status not in _PASSING_STATUSES:
        return SourceRefused(
            f"{source} is refused a file of {spec.query}, with HTTP status {status}: {error}"
        )
    if isinstance(error, _OUTAGES):
        return SourceUnavailable(f"{source} cannot read a file of {spec.query} now: {error}")
    return QueryFailed(f"{source} refuses {spec.query}: {error}")


@contextmanager
def open_source(sources: Mapping[str, str], name: str) -> Iterator[DuckdbSource]:
    """Give the warehouse called `name`; it is closed at the end.

    Raises:
        UnknownSource: RETRAIN_SOURCES lacks the name, or has an address that cannot be used.
        SourceUnavailable: The file is not there yet, or another process writes to it.
        SourceRefused: This user may not read the file, or it is no DuckDB database.
    """
    if name not in sources:
        raise UnknownSource(
            f"the YAML reads from `{name}`, but RETRAIN_SOURCES names"
            f" {', '.join(sorted(sources)) or 'nothing'}; add it there with its address"
        )
    connection = _connect(name, sources[name])
    try:
        yield DuckdbSource(name, connection)
    finally:
        connection.disconnect()


def _connect(name: str, address: str) -> Any:
    parts = urlsplit(address)
    # The address may hold a password, also where its kind should be: it is never shown.
    if parts.scheme != "duckdb" or not parts.path or "@" in parts.netloc:
        raise UnknownSource(
            f"RETRAIN_SOURCES gives `{name}` an address that retrain cannot open;"
            " it must be duckdb:///absolute/path.duckdb"
        )
    path = Path(parts.netloc + parts.path)
    _prove_database(name, path)
    try:
        connection = ibis.duckdb.connect(path, read_only=True)
        connection.raw_sql("SET TimeZone='UTC'")
    except duckdb.Error as error:
        raise SourceUnavailable(
            f"the source `{name}` at {path} cannot be opened now,"
            f" another process may be writing to it: {error}"
        ) from error
    return connection


def _prove_database(name: str, path: Path) -> None:
    """Raise unless the file is a database.

    DuckDB has one error for a locked file and for a file of another kind. Another try may mend only
    the first.
    """
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except FileNotFoundError as error:
        raise SourceUnavailable(
            f"the source `{name}` is {path}, which is not there;"
            " load the rows first, or correct RETRAIN_SOURCES"
        ) from error
    except IsADirectoryError as error:
        raise SourceRefused(
            f"the source `{name}` is {path}, which is a folder; correct RETRAIN_SOURCES"
        ) from error
    except OSError as error:
        raise SourceRefused(
            f"the source `{name}` at {path} cannot be read: {error.strerror};"
            " let this user read it, or correct RETRAIN_SOURCES"
        ) from error
    where, magic = _DUCKDB_MAGIC
    if head and head[where] != magic:
        raise SourceRefused(
            f"the source `{name}` at {path} is no DuckDB database; correct RETRAIN_SOURCES"
        )


def _literal(moment: Any, value: Any) -> Any:
    """Return a moment in the type of a column. A timestamp without a time zone is UTC."""
    return ibis.literal(
        value if moment.type().timezone else value.replace(tzinfo=None), moment.type()
    )
