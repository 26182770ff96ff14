"""A real DuckDB file: its moments, its locks, its address."""

import subprocess
import sys
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from retrain.errors import (
    MissingColumn,
    QueryFailed,
    SourceUnavailable,
    UnknownSource,
)
from retrain.settings import Settings
from retrain.snapshot.canonical_rows import MOMENT
from retrain.snapshot.snapshot import build_snapshot
from retrain.snapshot.store import PartitionStore
from retrain.sources.port import Source
from retrain.wiring import open_source
from tests.fakes.row_source import JUNE, FakeSource, all_rows, small_spec, things

SPEC = small_spec()
JULY_8 = datetime(2013, 7, 8, tzinfo=UTC)


def open_warehouse(sources: dict[str, str]) -> AbstractContextManager[Source]:
    return open_source(Settings(sources=sources), "warehouse")


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, str]:
    """Where the small model's rows lie."""
    path = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("SET TimeZone='America/New_York'")
        connection.register("arrived", things(JUNE, days=40))
        connection.execute("CREATE TABLE things AS SELECT * FROM arrived")
    return {"warehouse": f"duckdb://{path}"}


def test_rows_come_from_the_half_open_range_with_all_their_columns(sources: dict[str, str]) -> None:
    table = things(JUNE, days=40)
    start, end = (table.column("at")[index].as_py() for index in (8, 24))
    with open_warehouse(sources) as source:
        rows = all_rows(source, SPEC, start, end)
    assert (
        rows.sort_by("id").column("id").to_pylist() == table.column("id").slice(8, 16).to_pylist()
    )
    assert set(rows.column_names) == set(table.column_names)
    assert rows.schema.field("at").type == MOMENT


def test_a_snapshot_from_duckdb_is_that_of_the_same_rows_from_elsewhere(
    sources: dict[str, str], tmp_path: Path
) -> None:
    with open_warehouse(sources) as source:
        real = build_snapshot(SPEC, JULY_8, source, PartitionStore(tmp_path / "a"))
    assert (
        real.snapshot_id
        == build_snapshot(
            SPEC, JULY_8, FakeSource(things(JUNE, days=40)), PartitionStore(tmp_path / "b")
        ).snapshot_id
    )


def test_timestamps_without_a_time_zone_are_utc(sources: dict[str, str]) -> None:
    spec = small_spec(
        query_text='SELECT * REPLACE ("at" AT TIME ZONE \'UTC\' AS "at") FROM things;\n'
    )
    with open_warehouse(sources) as source:
        assert all_rows(source, spec, JUNE, JUNE + timedelta(days=1)).num_rows == 8


def test_the_file_is_free_for_a_writer_as_soon_as_the_rows_are_read(
    sources: dict[str, str], tmp_path: Path
) -> None:
    with open_warehouse(sources) as source:
        all_rows(source, SPEC, JUNE, JULY_8)
    insert = "INSERT INTO things SELECT * FROM things LIMIT 1"
    write = f"import duckdb, sys; duckdb.connect(sys.argv[1]).execute('{insert}')"
    assert (
        subprocess.run(
            [sys.executable, "-c", write, str(tmp_path / "warehouse.duckdb")], check=False
        ).returncode
        == 0
    )


def test_a_file_that_is_not_there_is_worth_another_try_and_named(tmp_path: Path) -> None:
    with (
        pytest.raises(
            SourceUnavailable, match=r"nothing\.duckdb, which is not there; load the rows first"
        ),
        open_warehouse({"warehouse": f"duckdb://{tmp_path}/nothing.duckdb"}),
    ):
        pass
    assert not (tmp_path / "nothing.duckdb").exists()


def test_a_file_that_another_process_writes_to_is_worth_another_try(
    sources: dict[str, str], tmp_path: Path
) -> None:
    hold = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); "
    hold += "print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / "warehouse.duckdb")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"held\n"
        with (
            pytest.raises(
                SourceUnavailable,
                match="cannot be opened now, another process may be writing to it",
            ),
            open_warehouse(sources),
        ):
            pass
        writer.kill()


@pytest.mark.parametrize(
    ("address", "advice"),
    [
        ("mysql://user:s3cret@db/rows", "must begin with duckdb://, postgresql://, sqlite://"),
        ("warehouse.duckdb", "must begin with duckdb://"),
        ("duckdb://", "must be duckdb:///absolute/path.duckdb"),
        ("duckdb://s3cret@host/path", "must be duckdb:///absolute/path.duckdb"),
        ("postgresql://", "must be postgresql://user:password@host:5432/database"),
        ("postgresql://user:s3cret@host:port/rows", "must be postgresql://user:password@"),
        ("postgresql://user:s3cret@[::1/rows", "must be postgresql://user:password@"),
        ("sqlite://", "must be sqlite:///absolute/path.sqlite"),
    ],
)
def test_an_address_that_cannot_be_opened_says_what_it_must_be(address: str, advice: str) -> None:
    with (
        pytest.raises(UnknownSource) as refused,
        open_warehouse({"warehouse": address}),
    ):
        pass
    assert advice in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_a_name_without_address_says_where_to_add_it() -> None:
    with (
        pytest.raises(
            UnknownSource,
            match=r"reads from `warehouse`, but RETRAIN_SOURCES names lake; add it there",
        ),
        open_warehouse({"lake": "duckdb:///x"}),
    ):
        pass


def test_a_query_that_duckdb_refuses_carries_its_sentence(sources: dict[str, str]) -> None:
    with (
        open_warehouse(sources) as source,
        pytest.raises(QueryFailed, match=r"refuses small\.sql: .*thongs"),
    ):
        source.head(small_spec(query_text="SELECT * FROM thongs"), 1)


def test_a_query_without_its_event_time_is_named_before_it_runs(sources: dict[str, str]) -> None:
    with (
        open_warehouse(sources) as source,
        pytest.raises(MissingColumn, match="does not return `at`, the event time"),
    ):
        all_rows(source, small_spec(query_text='SELECT * EXCLUDE ("at") FROM things'), JUNE, JULY_8)


def test_an_empty_query_has_columns_and_no_rows(sources: dict[str, str]) -> None:
    with open_warehouse(sources) as source:
        assert isinstance(
            all_rows(source, SPEC, JUNE - timedelta(days=900), JUNE - timedelta(days=800)),
            pa.Table,
        )
