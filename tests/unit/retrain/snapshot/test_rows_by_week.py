"""Rows that stream in any order become weeks, and the span is never in memory."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from retrain.contract import Partition
from retrain.errors import BadColumn, StoreUnavailable
from retrain.snapshot.rows_by_week import RowsByWeek
from retrain.snapshot.snapshot import build_snapshot
from retrain.snapshot.store import PartitionStore
from retrain.snapshot.window import week_bounds
from retrain.spec.model_file import ModelSpec
from tests.fakes.row_source import JUNE, FakeSource, small_spec, table_of, things

JULY_8 = datetime(2013, 7, 8, tzinfo=UTC)
SPEC = small_spec()
ROOT = Path(__file__).parents[4]


def test_each_week_has_exactly_its_rows_whatever_their_order() -> None:
    rows = things(JUNE, days=40, night_hours=4)
    shuffled = rows.take(np.random.default_rng(3).permutation(rows.num_rows))
    weeks = {}
    with RowsByWeek("at") as by_week:
        for start in range(0, shuffled.num_rows, 37):
            by_week.add(shuffled.slice(start, 37))
        for week in ("2013-W21", "2013-W22", "2013-W23", "2013-W26", "2013-W28"):
            weeks[week] = by_week.take(week)
    assert weeks["2013-W21"] is None
    for week, found in weeks.items():
        bounds = week_bounds(week)
        expected = [
            key
            for key, at in zip(
                *(rows.column(name).to_pylist() for name in ("id", "at")), strict=True
            )
            if bounds.start <= at < bounds.end
        ]
        assert sorted(found.column("id").to_pylist() if found else []) == sorted(expected)


def test_one_row_a_batch_gives_the_snapshot_of_one_batch(tmp_path: Path) -> None:
    rows = things(JUNE, days=40)

    class Trickle(FakeSource):
        def rows(self, spec: ModelSpec, start: datetime, end: datetime) -> Iterator[pa.Table]:
            for table in super().rows(spec, start, end):
                yield from (table.slice(at, 1) for at in reversed(range(table.num_rows)))

    one, other = (
        build_snapshot(SPEC, JULY_8, source, PartitionStore(tmp_path / name))
        for name, source in (("a", FakeSource(rows)), ("b", Trickle(rows)))
    )
    assert one.snapshot_id == other.snapshot_id


@dataclass(frozen=True)
class WatchedStore(PartitionStore):
    """Notes how much Arrow holds while a week is written."""

    held_bytes: list[int] = field(default_factory=list)

    def write(self, week: str, rows: pa.Table) -> Partition:
        self.held_bytes.append(pa.total_allocated_bytes())
        return super().write(week, rows)


@dataclass
class MadeUp:
    """A source of many rows that makes each batch when it is asked for."""

    days: int
    rows_per_day: int

    def rows(self, spec: ModelSpec, start: datetime, end: datetime) -> Iterator[pa.Table]:
        for day in range(self.days):
            midnight = start + timedelta(days=day)
            if midnight < end:
                yield self._day(midnight)

    def _day(self, midnight: datetime) -> pa.Table:
        row = {"at": midnight, "day": midnight.date(), "late": True, "size": 1.0, "colour": "red"}
        keys = (f"{midnight:%F} {number:07d}" for number in range(self.rows_per_day))
        return table_of([{"id": key, **row} for key in keys])


def test_the_span_is_never_in_memory(tmp_path: Path) -> None:
    source, store = MadeUp(days=98, rows_per_day=1_000), WatchedStore(tmp_path)
    spec = small_spec(label_delay=timedelta(0), window_months=3)
    span_bytes = 98 * source._day(JUNE).nbytes
    before = pa.total_allocated_bytes()
    build_snapshot(spec, JULY_8, source, store)
    assert (
        max(store.held_bytes) - before < 0.5 * span_bytes
    )  # two of 14 weeks, each in up to three forms


def test_nothing_is_kept_when_the_last_row_is_bad(tmp_path: Path) -> None:
    rows = things(JUNE, days=30)
    late = rows.column("late").to_pylist()
    bad = rows.set_column(3, "late", pa.array([*late[:-1], None], pa.bool_()))
    with pytest.raises(BadColumn, match="at least 1 rows without `late`"):
        build_snapshot(SPEC, JULY_8, FakeSource(bad), PartitionStore(tmp_path))
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_full_disk_is_an_outage_that_names_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full").open("wb")  # noqa: SIM115 - closed with the rows
    monkeypatch.setattr("retrain.snapshot.rows_by_week.TemporaryFile", lambda: full)
    named = rf"{tempfile.gettempdir()} cannot be written .*TMPDIR"
    with (  # noqa: PT012 - a small table may wait in a buffer
        RowsByWeek("at") as by_week,
        pytest.raises(StoreUnavailable, match=named),
    ):
        by_week.add(things(JUNE, days=1, rows_per_day=4_000))
        by_week.take("2013-W22")


KILLED = """
import os, signal, sys
from retrain.snapshot.store import PartitionStore
from tests.unit.retrain.snapshot.test_rows_by_week import *
class Dies(PartitionStore):
    def write(self, week, rows):
        if week == "2013-W25":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().write(week, rows)
build_snapshot(SPEC, JULY_8, FakeSource(things(JUNE, days=40)), Dies(sys.argv[1]))
"""


def test_a_run_killed_between_two_weeks_can_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    died = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "store")],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path / "scratch")},
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    assert not list((tmp_path / "scratch").iterdir())
    kept = len(list((tmp_path / "store").rglob("*.parquet")))
    assert 0 < kept < 6
    rows = things(JUNE, days=40)
    again, fresh = (
        build_snapshot(SPEC, JULY_8, FakeSource(rows), PartitionStore(tmp_path / name))
        for name in ("store", "fresh")
    )
    assert again.snapshot_id == fresh.snapshot_id
