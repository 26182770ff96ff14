"""Rows from DuckDB: its own file, or Parquet and CSV files in folders and buckets.

A DuckDB file is open read-only and only while rows are read, because others write between runs.
`duckdb:///:memory:` opens no file: the query names its files by `read_parquet` or `read_csv`.
`s3://…` in a query is read by pyarrow, so DuckDB downloads no extension.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa

from retrain.errors import (
    QueryFailed,
    SourceError,
    SourceRefused,
    SourceUnavailable,
    UnknownSource,
)
from retrain.sources.buckets import S3_ERROR, S3_REFUSALS, bucket_files
from retrain.sources.port import tables_of
from retrain.sources.statement import (
    first_rows,
    no_moment,
    only_statement,
    require_distinct,
    require_event_time,
    rows_where,
)
from retrain.spec.model_file import ModelSpec

_NO_FILE = "/:memory:"
_ROWS_AT_ONCE = 200_000
_OUTAGES = (
    duckdb.ConnectionException,
    duckdb.IOException,
    duckdb.ResourceInUseException,
    duckdb.TransactionException,
)
_NO_DOWNLOADS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}


@dataclass(frozen=True)
class DuckdbSource:
    """An open DuckDB; a `retrain.sources.port.Source`."""

    name: str
    connection: duckdb.DuckDBPyConnection

    def rows(self, spec: ModelSpec, start: datetime, end: datetime) -> Iterator[pa.Table]:
        """Yield all columns of the query's rows with `start` <= event time < `end`."""
        statement = only_statement(spec, "duckdb")
        with self._errors_translated(spec):
            query = self._relation(statement)
            require_distinct(spec, query.columns)
            require_event_time(spec, query.columns)
            kind = str(query.types[query.columns.index(spec.columns.event_time)])
            if not kind.startswith("TIMESTAMP"):
                raise no_moment(spec, kind)
            if not kind.endswith("WITH TIME ZONE"):  # a cast would keep DuckDB from skipping files
                start, end = (moment.replace(tzinfo=None) for moment in (start, end))
            column = spec.columns.event_time
            selected = rows_where(statement, f'"{column}" >= $1 AND "{column}" < $2')
            yield from self._tables(selected, [start, end])

    def head(self, spec: ModelSpec, rows: int) -> pa.Table:
        """Return at most `rows` rows of the query."""
        statement = only_statement(spec, "duckdb")
        with self._errors_translated(spec):
            require_distinct(spec, self._relation(statement).columns)
            return pa.concat_tables(self._tables(first_rows(statement, rows)))

    def _relation(self, statement: str) -> duckdb.DuckDBPyRelation:
        """Return the query, not run yet."""
        if "s3://" in statement and not self.connection.filesystem_is_registered("s3"):
            self.connection.register_filesystem(bucket_files())
        return self.connection.sql(statement)

    def _tables(self, sql: str, parameters: list[datetime] | None = None) -> Iterator[pa.Table]:
        relation = self.connection.sql(sql, params=parameters)
        yield from tables_of(relation.to_arrow_reader(_ROWS_AT_ONCE))

    @contextmanager
    def _errors_translated(self, spec: ModelSpec) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            raise _query_error(f"the source `{self.name}`", spec, error) from error


def _query_error(source: str, spec: ModelSpec, error: duckdb.Error) -> SourceError:
    """Return an error of DuckDB as an outage, a refusal, or a query that fails."""
    text = str(error).strip()
    if S3_REFUSALS.search(text):
        return SourceRefused(f"{source} is refused a file of {spec.query}: {text.splitlines()[-1]}")
    if isinstance(error, _OUTAGES) or S3_ERROR.search(text):
        text = text.splitlines()[-1]
        return SourceUnavailable(f"{source} cannot read a file of {spec.query} now: {text}")
    return QueryFailed(f"{source} refuses {spec.query}: {text}")


@contextmanager
def open_source(name: str, address: str) -> Iterator[DuckdbSource]:
    """Give the warehouse called `name`; it is closed at the end.

    Raises:
        UnknownSource: The address is no absolute path.
        SourceUnavailable: The file is not there yet, or another process writes to it.
        SourceRefused: This user may not read the file, or it is no DuckDB database.
    """
    with _connect(name, address) as connection:
        yield DuckdbSource(name, connection)


def _connect(name: str, address: str) -> duckdb.DuckDBPyConnection:
    parts = urlsplit(address)
    # The address may hold a password, also where its kind should be: it is never shown.
    if not parts.path or parts.netloc:
        raise UnknownSource(
            f"RETRAIN_SOURCES gives `{name}` an address that retrain cannot open;"
            " it must be duckdb:///absolute/path.duckdb, or duckdb:///:memory: for files that"
            " the query names"
        )
    in_memory = parts.path == _NO_FILE
    path = ":memory:" if in_memory else parts.path
    if not in_memory:
        _prove_database(name, Path(path))
    try:
        connection = duckdb.connect(path, read_only=not in_memory, config=_NO_DOWNLOADS)
        connection.execute("SET TimeZone='UTC'")
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
    if head and head[8:12] != b"DUCK":
        raise SourceRefused(
            f"the source `{name}` at {path} is no DuckDB database; correct RETRAIN_SOURCES"
        )
