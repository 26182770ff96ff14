"""Rows of a time range from the warehouse, through Ibis; DuckDB files are opened read-only and closed at once, for others write between runs."""

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
class Source:
    """An open warehouse."""

    name: str
    connection: Any
    """An Ibis backend."""

    def rows(self, spec: ModelSpec, start: datetime, end: datetime) -> pa.Table:
        """Return all columns of the query's rows whose event time lies in the window.

        Raises:
            MissingColumn: The query does not return the event time.
            QueryFailed: The warehouse refuses the query.
            SourceUnavailable: A file of the query cannot be read now.
            SourceRefused: A file of the query is refused.
        """
        with self._errors_translated(spec):
            query = self._query(spec)
            if spec.columns.event_time not in query.columns:
                raise MissingColumn(
                    f"{spec.query} does not return `{spec.columns.event_time}`, the event time; it returns {', '.join(query.columns)}"
                )
            moment = query[spec.columns.event_time]
            return query.filter(
                moment >= _literal(moment, start), moment < _literal(moment, end)
            ).to_pyarrow()

    def head(self, spec: ModelSpec, rows: int) -> pa.Table:
        """Return some rows of the query, as many as asked for at most.

        Raises:
            QueryFailed: The warehouse refuses the query.
        """
        with self._errors_translated(spec):
            return self._query(spec).limit(rows).to_pyarrow()

    def _query(self, spec: ModelSpec) -> Any:
        """The query as an Ibis table.

        `connection.sql` would do, but Ibis 12 asks DuckDB for a query's columns by a method that DuckDB 2.0 no longer has: ask for no rows instead.
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
    """An answer over HTTP, of a bucket's file, is also an IOException; without a status nobody answered."""
    status = getattr(error, "status_code", 0)
    if isinstance(error, duckdb.HTTPException) and status and status not in _PASSING_STATUSES:
        return SourceRefused(
            f"{source} is refused a file of {spec.query}, with HTTP status {status}: {error}"
        )
    if isinstance(error, _OUTAGES):
        return SourceUnavailable(f"{source} cannot read a file of {spec.query} now: {error}")
    return QueryFailed(f"{source} refuses {spec.query}: {error}")


@contextmanager
def open_source(sources: Mapping[str, str], name: str) -> Iterator[Source]:
    """Give the warehouse called `name`; it is closed at the end.

    Raises:
        UnknownSource: RETRAIN_SOURCES lacks the name, or has an address that cannot be used.
        SourceUnavailable: The file is not there yet, or another process writes to it.
        SourceRefused: This user may not read the file, or it is no DuckDB database.
    """
    if name not in sources:
        raise UnknownSource(
            f"the YAML reads from `{name}`, but RETRAIN_SOURCES names {', '.join(sorted(sources)) or 'nothing'}; add it there with its address"
        )
    connection = _connect(name, sources[name])
    try:
        yield Source(name, connection)
    finally:
        connection.disconnect()


def _connect(name: str, address: str) -> Any:
    parts = urlsplit(address)
    # The address may hold a password, also where its kind should be: it is never shown.
    if parts.scheme != "duckdb" or not parts.path or "@" in parts.netloc:
        raise UnknownSource(
            f"RETRAIN_SOURCES gives `{name}` an address that retrain cannot open; it must be duckdb:///absolute/path.duckdb"
        )
    path = Path(parts.netloc + parts.path)
    _prove_database(name, path)
    try:
        connection = ibis.duckdb.connect(path, read_only=True)
        connection.raw_sql("SET TimeZone='UTC'")
    except duckdb.Error as error:
        raise SourceUnavailable(
            f"the source `{name}` at {path} cannot be opened now, another process may be writing to it: {error}"
        ) from error
    return connection


def _prove_database(name: str, path: Path) -> None:
    """DuckDB has one error for a file that is locked and for one that is no database; only the first is worth another try."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except FileNotFoundError as error:
        raise SourceUnavailable(
            f"the source `{name}` is {path}, which is not there; load the rows first, or correct RETRAIN_SOURCES"
        ) from error
    except IsADirectoryError as error:
        raise SourceRefused(
            f"the source `{name}` is {path}, which is a folder; correct RETRAIN_SOURCES"
        ) from error
    except OSError as error:
        raise SourceRefused(
            f"the source `{name}` at {path} cannot be read: {error.strerror}; let this user read it, or correct RETRAIN_SOURCES"
        ) from error
    where, magic = _DUCKDB_MAGIC
    if head and head[where] != magic:
        raise SourceRefused(
            f"the source `{name}` at {path} is no DuckDB database; correct RETRAIN_SOURCES"
        )


def _literal(moment: Any, value: Any) -> Any:
    """A warehouse's timestamp without time zone is UTC, and is compared as such."""
    return ibis.literal(
        value if moment.type().timezone else value.replace(tzinfo=None), moment.type()
    )
