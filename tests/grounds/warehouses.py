"""The same rows in real warehouses. Each yields an address and the SQL of all rows."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from adbc_driver_postgresql import dbapi

from tests.grounds.postgres import MASTER, postgres, why_no_postgres
from tests.grounds.s3_servers import asked_at, make_bucket, moto_server

PASSWORD = "s3cret/with odd?chars"
_PASSWORD_IN_ADDRESS = "s3cret%2Fwith%20odd%3Fchars"


@dataclass(frozen=True)
class Warehouse:
    """Rows at an address."""

    address: str
    query: str
    """All rows."""


@contextmanager
def duckdb_file(folder: Path, rows: pa.Table) -> Iterator[Warehouse]:
    path = folder / "warehouse.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("SET TimeZone='America/New_York'")
        connection.register("arrived", rows)
        connection.execute("CREATE TABLE things AS SELECT * FROM arrived")
    yield Warehouse(f"duckdb://{path}", "SELECT * FROM things")


@contextmanager
def parquet_folder(folder: Path, rows: pa.Table) -> Iterator[Warehouse]:
    for path, part in _parts(folder, rows):
        pq.write_table(part, path)
    query = f"SELECT * FROM read_parquet('{folder}/*.parquet')"
    yield Warehouse("duckdb:///:memory:", query)


@contextmanager
def csv_folder(folder: Path, rows: pa.Table) -> Iterator[Warehouse]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone='UTC'")
        for path, part in _parts(folder, rows):
            connection.register("part", part)
            connection.execute(f"COPY part TO '{path.with_suffix('.csv')}' (HEADER, FORCE_QUOTE *)")
    types = "{'at': 'TIMESTAMPTZ', 'price': 'DECIMAL(10,3)', 'late': 'BOOLEAN', 'size': 'DOUBLE'}"
    yield Warehouse(
        "duckdb:///:memory:",
        f"SELECT * FROM read_csv('{folder}/*.csv', types={types}, allow_quoted_nulls=false)",
    )


@contextmanager
def parquet_on_s3(folder: Path, rows: pa.Table) -> Iterator[Warehouse]:
    with moto_server() as env, asked_at(env):
        bucket = make_bucket("acme-rows")
        client = boto3.client("s3")
        for path, part in _parts(folder, rows):
            pq.write_table(part, path)
            client.upload_file(str(path), "acme-rows", f"things/{path.name}")
        query = f"SELECT * FROM read_parquet('{bucket}/things/*.parquet')"
        yield Warehouse("duckdb:///:memory:", query)


@contextmanager
def postgres_server(folder: Path, rows: pa.Table) -> Iterator[Warehouse]:
    if problem := why_no_postgres():
        pytest.skip(problem)
    port = free_port()
    with postgres("127.0.0.1", PASSWORD, ["rows"], port=port):
        address = (
            f"postgresql://{MASTER}:{_PASSWORD_IN_ADDRESS}@127.0.0.1:{port}/rows?sslmode=require"
        )
        run_on_postgres(
            address,
            'CREATE TABLE things (id text, "at" timestamptz, day date, late boolean,'
            " size double precision, colour text, seats bigint, price numeric(10,3))",
        )
        text = pa.table([rows.column(name) for name in rows.column_names], rows.column_names)
        text = text.set_column(
            text.column_names.index("price"), "price", text.column("price").cast(pa.string())
        )
        with dbapi.connect(address) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest("arrived", text, mode="create")
            connection.commit()
            cursor.execute(
                'INSERT INTO things SELECT id, "at", day, late, size, colour, seats,'
                " price::numeric(10,3) FROM arrived"
            )
            connection.commit()
        yield Warehouse(address, "SELECT * FROM things")


@contextmanager
def sqlite_file(folder: Path, rows: pa.Table) -> Iterator[Warehouse]:
    path = folder / "with a space.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            'CREATE TABLE things (id TEXT, "at" TEXT, day TEXT, late BOOLEAN,'
            " size DOUBLE, colour TEXT, seats INTEGER, price DOUBLE)"
        )
        cells = [_as_sqlite(row) for row in rows.to_pylist()]
        connection.executemany("INSERT INTO things VALUES (?, ?, ?, ?, ?, ?, ?, ?)", cells)
    yield Warehouse(f"sqlite://{path}", "SELECT * FROM things")


def run_on_postgres(address: str, *statements: str) -> None:
    """Run statements that return nothing."""
    with dbapi.connect(address, autocommit=True) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _parts(folder: Path, rows: pa.Table) -> Iterator[tuple[Path, pa.Table]]:
    size = rows.num_rows // 3 + 1
    for number in range(3):
        yield folder / f"part-{number}.parquet", rows.slice(number * size, size)


def _as_sqlite(row: dict[str, Any]) -> Sequence[object]:
    at = row["at"].isoformat(sep="T" if row["late"] else " ")
    price = None if row["price"] is None else float(row["price"])
    return (
        row["id"],
        at,
        row["day"].isoformat(),
        row["late"],
        row["size"],
        row["colour"],
        row["seats"],
        price,
    )
