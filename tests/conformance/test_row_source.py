"""What retrain relies on of any warehouse, checked on real ones: the same rows everywhere."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from retrain.errors import BadColumn, MissingColumn, QueryFailed
from retrain.settings import Settings
from retrain.snapshot.canonical_rows import MOMENT, in_canonical_types
from retrain.snapshot.snapshot import build_snapshot
from retrain.snapshot.store import PartitionStore
from retrain.sources.port import Source
from retrain.spec.model_file import ModelSpec
from retrain.wiring import open_source
from tests.fakes.row_source import JUNE, FakeSource, all_rows, small_spec, things
from tests.grounds import warehouses
from tests.grounds.warehouses import Warehouse

JULY_8 = datetime(2013, 7, 8, tzinfo=UTC)
ODD_TEXTS = ("it's", 'a "quote"', "two\nlines", "żółć 雪", "", " ", "NULL", "\\N", "a,b", None)
WAREHOUSES: dict[str, Callable[[Path, pa.Table], AbstractContextManager[Warehouse]]] = {
    "duckdb file": warehouses.duckdb_file,
    "parquet folder": warehouses.parquet_folder,
    "csv folder": warehouses.csv_folder,
    "parquet on S3": warehouses.parquet_on_s3,
    "postgres": warehouses.postgres_server,
    "sqlite": warehouses.sqlite_file,
}


def odd_rows() -> pa.Table:
    """Forty days of the small model's rows with odd texts, whole numbers, decimals and moments."""
    table = things(JUNE, days=40)
    dice = random.Random(5)
    count = table.num_rows
    prices = [dice.choice([None, Decimal(dice.randrange(10**7)) / 1000]) for _ in range(count)]
    colours = [dice.choice(ODD_TEXTS) for _ in range(count)]
    seats = [dice.choice([None, 0, -3, 2**53 + 1, 2**63 - 1]) for _ in range(count)]
    columns = {name: table.column(name) for name in table.column_names}
    columns["colour"] = pa.chunked_array([pa.array(colours, pa.string())])
    columns["seats"] = pa.chunked_array([pa.array(seats, pa.int64())])
    columns["price"] = pa.chunked_array([pa.array(prices, pa.decimal128(10, 3))])
    columns["at"] = pc.add(columns["at"], pa.scalar(timedelta(microseconds=123_456)))
    return pa.table(columns)


@dataclass(frozen=True)
class Ground:
    kind: str
    query: str
    source: Source
    rows: pa.Table
    """As the source should give them."""

    def spec(self, query: str | None = None) -> ModelSpec:
        return small_spec(query_text=self.query if query is None else query)


@pytest.fixture(scope="module", params=list(WAREHOUSES))
def ground(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    rows = odd_rows()
    with WAREHOUSES[request.param](tmp_path_factory.mktemp("rows"), rows) as warehouse:
        settings = Settings(sources={"warehouse": warehouse.address})
        with open_source(settings, "warehouse") as source:
            kept = _without_nan(rows) if request.param == "sqlite" else rows
            yield Ground(request.param, warehouse.query, source, kept)


def _without_nan(rows: pa.Table) -> pa.Table:
    """SQLite has no NaN: it stores NULL."""
    size = rows.column("size")
    size = pc.if_else(pc.is_nan(size), pa.scalar(None, pa.float64()), size)
    return rows.set_column(rows.column_names.index("size"), "size", size)


def test_the_same_rows_give_the_same_snapshot(ground: Ground, tmp_path: Path) -> None:
    spec = ground.spec()
    real = build_snapshot(spec, JULY_8, ground.source, PartitionStore(str(tmp_path / "a")))
    fake = FakeSource(in_canonical_types(ground.rows))
    expected = build_snapshot(spec, JULY_8, fake, PartitionStore(str(tmp_path / "b")))
    assert real.snapshot_id == expected.snapshot_id


def test_rows_come_from_the_half_open_range(ground: Ground) -> None:
    start, end = (ground.rows.column("at")[index].as_py() for index in (8, 24))
    found = all_rows(ground.source, ground.spec(), start, end)
    assert sorted(found.column("id").to_pylist()) == sorted(
        ground.rows.column("id").slice(8, 16).to_pylist()
    )
    assert set(found.column_names) == set(ground.rows.column_names)


def test_a_range_without_rows_has_all_columns(ground: Ground) -> None:
    long_ago = JUNE - timedelta(days=900)
    found = all_rows(ground.source, ground.spec(), long_ago, long_ago + timedelta(days=7))
    assert found.num_rows == 0
    assert set(found.column_names) == set(ground.rows.column_names)


def test_some_rows_come_with_all_columns(ground: Ground) -> None:
    found = ground.source.head(ground.spec(), 3)
    assert found.num_rows == 3
    assert set(found.column_names) == set(ground.rows.column_names)


@pytest.mark.parametrize("end", [";", ";;\n", "; -- the end", " -- the end", "\n/* ; */"])
def test_semicolons_and_comments_at_the_end_do_no_harm(ground: Ground, end: str) -> None:
    spec = ground.spec(ground.query + end)
    assert all_rows(ground.source, spec, JUNE, JUNE + timedelta(days=1)).num_rows == 8


def test_a_query_may_begin_with_a_table_expression(ground: Ground) -> None:
    spec = ground.spec(f"WITH chosen AS ({ground.query}) SELECT * FROM chosen -- ';'")
    assert all_rows(ground.source, spec, JUNE, JUNE + timedelta(days=1)).num_rows == 8


@pytest.mark.parametrize("query", ["", " \n", "-- nothing", "/* nothing */;"])
def test_a_query_without_a_statement_is_refused(ground: Ground, query: str) -> None:
    with pytest.raises(QueryFailed, match=r"small\.sql holds no SQL"):
        all_rows(ground.source, ground.spec(query), JUNE, JULY_8)


def test_a_second_statement_is_refused_with_its_line(ground: Ground) -> None:
    spec = ground.spec(f"{ground.query};\n\nDROP TABLE things")
    with pytest.raises(QueryFailed, match=r"small\.sql:3: a second statement begins here"):
        ground.source.head(spec, 1)
    assert ground.source.head(ground.spec(), 1).num_rows == 1


@pytest.mark.parametrize("query", ["SELECT * FROM thongs", "SELEC 1", "SELECT 'open"])
def test_a_query_that_the_engine_refuses_is_named(ground: Ground, query: str) -> None:
    with pytest.raises(QueryFailed, match=r"small\.sql"):
        all_rows(ground.source, ground.spec(query), JUNE, JULY_8)


def test_a_query_without_its_event_time_is_named(ground: Ground) -> None:
    spec = ground.spec(f"SELECT id, day FROM ({ground.query}) AS chosen")
    with pytest.raises(MissingColumn, match="does not return `at`, the event time; it returns id"):
        all_rows(ground.source, spec, JUNE, JULY_8)


def test_a_column_that_comes_twice_is_named(ground: Ground) -> None:
    if ground.kind == "sqlite":
        pytest.skip("SQLite itself gives the second column another name")
    spec = ground.spec(f'SELECT "at", id, day AS id FROM ({ground.query}) AS chosen')
    with pytest.raises(BadColumn, match="returns the column `id` twice"):
        all_rows(ground.source, spec, JUNE, JULY_8)


def test_a_moment_without_a_time_zone_is_utc(ground: Ground) -> None:
    naive = {
        "sqlite": "replace(substr(\"at\", 1, 19), 'T', ' ')",
        "postgres": "\"at\" AT TIME ZONE 'UTC'",
    }.get(ground.kind, "\"at\" AT TIME ZONE 'UTC'")
    spec = ground.spec(f'SELECT id, {naive} AS "at" FROM ({ground.query}) AS chosen')
    found = in_canonical_types(all_rows(ground.source, spec, JUNE, JUNE + timedelta(days=1)))
    assert found.num_rows == 8
    assert found.schema.field("at").type == MOMENT
    assert min(found.column("at").to_pylist()).hour == JUNE.hour + 6


def test_an_event_time_that_is_no_moment_is_named(ground: Ground) -> None:
    spec = ground.spec(f'SELECT id, seats AS "at" FROM ({ground.query}) AS chosen')
    with pytest.raises(BadColumn, match=r"event time `at` of small\.sql has the type .*cast it"):
        all_rows(ground.source, spec, JUNE, JULY_8)
