"""Warehouses that are away, refuse, break off, or hold what a snapshot cannot."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from retrain.errors import (
    BadColumn,
    QueryFailed,
    SourceError,
    SourceRefused,
    SourceUnavailable,
    UnknownSource,
)
from retrain.settings import Settings
from retrain.snapshot.canonical_rows import in_canonical_types
from retrain.sources.port import Source
from retrain.wiring import open_source
from tests.fakes.row_source import JUNE, all_rows, small_spec, things
from tests.grounds import warehouses
from tests.grounds.s3_servers import asked_at, moto_server

JULY_8 = datetime(2013, 7, 8, tzinfo=UTC)
DAY = timedelta(days=1)


@contextmanager
def opened(address: str) -> Iterator[Source]:
    with open_source(Settings(sources={"warehouse": address}), "warehouse") as source:
        yield source


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Postgres with the table `things`."""
    rows = things(JUNE, days=2)
    for name, kind in (("seats", pa.int64()), ("price", pa.decimal128(10, 3))):
        rows = rows.append_column(name, pa.nulls(rows.num_rows, kind))
    with warehouses.postgres_server(tmp_path_factory.mktemp("rows"), rows) as warehouse:
        warehouses.run_on_postgres(warehouse.address, "CREATE ROLE weak LOGIN PASSWORD 'weak'")
        yield warehouse.address


def error_of(address: str, query: str = "SELECT * FROM things") -> SourceError:
    with pytest.raises(SourceError) as raised, opened(address) as source:
        all_rows(source, small_spec(query_text=query), JUNE, JULY_8)
    assert "s3cret" not in str(raised.value)
    assert warehouses.PASSWORD not in str(raised.value)
    return raised.value


def test_a_wrong_password_is_a_refusal(postgres: str) -> None:
    error = error_of(postgres.replace("s3cret", "s3crex"))
    assert isinstance(error, SourceRefused)
    assert "password authentication failed" in str(error)
    assert "s3crex" not in str(error)


def test_a_database_that_does_not_exist_is_a_refusal(postgres: str) -> None:
    error = error_of(postgres.replace("/rows?", "/nothing?"))
    assert isinstance(error, SourceRefused)
    assert 'database "nothing" does not exist' in str(error)


def test_a_table_without_the_right_to_read_is_a_refusal(postgres: str) -> None:
    at = postgres.index("@")
    error = error_of(f"postgresql://weak:weak{postgres[at:]}")
    assert isinstance(error, SourceRefused)
    assert "permission denied for table things" in str(error)


def test_a_server_that_is_away_is_worth_another_try() -> None:
    address = f"postgresql://user:s3cret@127.0.0.1:{warehouses.free_port()}/rows"
    error = error_of(address)
    assert isinstance(error, SourceUnavailable)
    assert "Connection refused" in str(error)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://user:s3cret%zz@127.0.0.1:1/rows",
        "postgresql://user:s3cret%@127.0.0.1:1/rows",
        "postgresql://user:%00s3cret@127.0.0.1:1/rows",
        "postgresql://user:x@s3cret@127.0.0.1:1/rows",
        "postgresql://user:1/s3cret@127.0.0.1:1/rows",
        "postgresql://127.0.0.1:1/rows?password=%00s3cret",
    ],
)
def test_a_password_that_is_not_percent_encoded_is_refused_and_not_shown(address: str) -> None:
    """libpq would show it, and call the address an outage."""
    error = error_of(address)
    assert isinstance(error, UnknownSource)
    assert "percent-encoded" in str(error)


def test_an_option_that_postgres_does_not_know_is_a_refusal() -> None:
    error = error_of("postgresql://user:s3cret@127.0.0.1:1/rows?sslmod=require")
    assert isinstance(error, SourceRefused)
    assert '"sslmod"' in str(error)


def test_a_host_without_address_is_worth_another_try() -> None:
    error = error_of("postgresql://user:s3cret@nothing.invalid/rows")
    assert isinstance(error, SourceUnavailable)


def test_a_query_that_takes_too_long_is_worth_another_try(postgres: str) -> None:
    slow = "SELECT *, pg_sleep(5)::text AS slept FROM things WHERE id > ''"
    error = error_of(f"{postgres}&options=-c%20statement_timeout%3D300", slow)
    assert isinstance(error, SourceUnavailable)
    assert "statement timeout" in str(error)


def test_a_server_that_ends_in_the_middle_is_worth_another_try(postgres: str) -> None:
    long = 'SELECT "at", repeat(id, 500) AS id FROM things, generate_series(1, 400000) AS n'
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    killer = threading.Timer(
        1.0,
        lambda: warehouses.run_on_postgres(
            postgres, f"{end} WHERE application_name = 'ratchet-retrain'"
        ),
    )
    killer.start()
    try:
        error = error_of(postgres, long)
    finally:
        killer.join()
    assert isinstance(error, SourceUnavailable)


def test_a_value_that_fails_in_the_middle_is_the_querys_fault(postgres: str) -> None:
    query = 'SELECT "at", 1 / (n - 200000) AS id FROM things, generate_series(1, 200000) AS n'
    error = error_of(postgres, query)
    assert isinstance(error, QueryFailed)
    assert "division by zero" in str(error)


def test_retrain_cannot_write_to_the_warehouse(postgres: str) -> None:
    warehouses.run_on_postgres(
        postgres,
        "CREATE FUNCTION spoil() RETURNS text LANGUAGE plpgsql AS"
        " $$ BEGIN DELETE FROM things; RETURN 'gone'; END $$",
    )
    error = error_of(postgres, 'SELECT "at", spoil() AS id FROM things')
    assert "read-only transaction" in str(error)


def test_a_session_of_postgres_reads_dates_in_utc(postgres: str) -> None:
    warehouses.run_on_postgres(postgres, "ALTER DATABASE rows SET TimeZone = 'America/New_York'")
    query = 'SELECT "at", "at"::date::text AS day FROM things'
    with opened(postgres) as source:
        rows = all_rows(source, small_spec(query_text=query), JUNE, JUNE + DAY)
    assert rows.column("day").unique().to_pylist() == ["2013-06-01"]


@pytest.mark.parametrize("moment", ["infinity", "-infinity"])
def test_an_infinite_moment_is_named(postgres: str, moment: str) -> None:
    query = f"SELECT \"at\", id, timestamptz '{moment}' AS left_at FROM things"
    with opened(postgres) as source:
        rows = all_rows(source, small_spec(query_text=query), JUNE, JUNE + DAY)
    with pytest.raises(BadColumn, match="`left_at` has a moment before the year 1 or after"):
        in_canonical_types(rows)


def test_numerics_of_postgres_are_numbers(postgres: str) -> None:
    query = (
        "SELECT \"at\", 0.1::numeric AS a, NULL::numeric AS b, 'NaN'::numeric AS c,"
        " 123456789012345678901234567890.5::numeric AS d FROM things LIMIT 1"
    )
    with opened(postgres) as source:
        row = in_canonical_types(source.head(small_spec(query_text=query), 1)).to_pylist()[0]
    assert (row["a"], row["b"], row["d"]) == (0.1, None, 123456789012345678901234567890.5)
    assert row["c"] != row["c"]


@pytest.fixture
def sqlite(tmp_path: Path) -> Path:
    path = tmp_path / "rows.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute('CREATE TABLE things (id TEXT, "at", size)')
        connection.execute("INSERT INTO things VALUES ('a', '2013-06-01 06:00:00', 1.5)")
    return path


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def test_an_sqlite_file_that_is_not_there_is_worth_another_try(tmp_path: Path) -> None:
    error = error_of(f"sqlite://{tmp_path}/nothing.sqlite")
    assert isinstance(error, SourceUnavailable)
    assert "load the rows first" in str(error)
    assert not (tmp_path / "nothing.sqlite").exists()


def test_a_file_of_another_kind_is_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "rows.sqlite").write_text("no database, but long enough to look like one" * 9)
    error = error_of(f"sqlite://{tmp_path}/rows.sqlite")
    assert isinstance(error, SourceRefused)
    assert "file is not a database" in str(error)


def test_a_locked_sqlite_file_is_worth_another_try(sqlite: Path) -> None:
    # A process of its own: the locks of two SQLite libraries in one process do not meet.
    hold = "import sqlite3, sys; held = sqlite3.connect(sys.argv[1]); "
    hold += "held.execute('BEGIN EXCLUSIVE'); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(sqlite)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"held\n"
        error = error_of(f"sqlite://{sqlite}")
        writer.kill()
    assert isinstance(error, SourceUnavailable)


@pytest.mark.parametrize("value", ["'yesterday'", "'2013-13-01'", "''"])
def test_a_moment_that_sqlite_cannot_read_is_named_and_not_dropped(
    sqlite: Path, value: str
) -> None:
    change(sqlite, f"INSERT INTO things VALUES ('b', {value}, 1.0)")
    error = error_of(f"sqlite://{sqlite}")
    assert isinstance(error, BadColumn)
    assert "`at` of small.sql has a value that is no ISO 8601 moment" in str(error)


def test_text_in_a_column_of_numbers_is_named(sqlite: Path) -> None:
    change(sqlite, "INSERT INTO things VALUES ('b', '2013-06-01 07:00:00', 'large')")
    error = error_of(f"sqlite://{sqlite}")
    assert isinstance(error, BadColumn)
    assert "the column `size` of small.sql holds text" in str(error)


def test_a_row_just_before_midnight_stays_in_its_day(sqlite: Path) -> None:
    change(sqlite, "INSERT INTO things VALUES ('b', '2013-06-01 23:59:59.999999', 1.0)")
    spec = small_spec(query_text="SELECT * FROM things")
    with opened(f"sqlite://{sqlite}") as source:
        first = all_rows(source, spec, JUNE, JUNE + DAY)
        second = all_rows(source, spec, JUNE + DAY, JUNE + 2 * DAY)
    assert (first.num_rows, second.num_rows) == (2, 0)


def test_a_bucket_that_does_not_exist_is_a_refusal() -> None:
    with moto_server() as env, asked_at(env):
        error = error_of("duckdb:///:memory:", "FROM read_parquet('s3://acme-nothing/a/*.parquet')")
    assert isinstance(error, SourceRefused), error


def test_a_bucket_whose_server_is_away_is_worth_another_try() -> None:
    with moto_server() as env:
        gone = dict(env)
    with asked_at(gone):
        error = error_of("duckdb:///:memory:", "FROM read_parquet('s3://acme-rows/a/*.parquet')")
    assert isinstance(error, SourceUnavailable), error


def test_duckdb_downloads_no_extension() -> None:
    error = error_of("duckdb:///:memory:", "FROM read_parquet('https://example.invalid/a.parquet')")
    assert "httpfs" in str(error)
