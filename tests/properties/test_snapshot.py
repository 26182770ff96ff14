"""The snapshot's promises for any rows: however they arrive, and whenever a run sees them."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from retrain.contract import Snapshot
from retrain.errors import WindowTooEmpty
from retrain.snapshot.canonical_rows import (
    column_digests,
    in_canonical_types,
    in_key_order,
    rows_digest,
)
from retrain.snapshot.snapshot import build_snapshot, read_split
from retrain.snapshot.store import PartitionStore
from retrain.snapshot.window import week_of
from tests.fakes.row_source import FakeSource, small_spec, table_of

SPEC = small_spec()
END = datetime(2024, 3, 11, tzinfo=UTC)
Row = dict[str, object]


@st.composite
def rows(draw: st.DrawFn, *, first_day: int = 0, days: int = 45) -> list[Row]:
    """One to three rows a day, from five weeks before the window's start on."""
    found = []
    for day in range(first_day, days):
        midnight = END - timedelta(days=45 - day)
        found += [
            {
                "id": f"{day:03d}-{number}",
                "at": midnight + timedelta(hours=draw(st.integers(0, 23))),
                "day": midnight.date(),
                "late": draw(st.booleans()),
                "size": draw(st.one_of(st.none(), st.floats())),
                "colour": draw(st.one_of(st.none(), st.text("aé€漢😀 \x00'", max_size=4))),
            }
            for number in range(draw(st.integers(1, 3)))
        ]
    return found


def built(store: Path, held: list[Row], *, end: datetime = END) -> Snapshot:
    try:
        return build_snapshot(SPEC, end, FakeSource(table_of(held)), PartitionStore(store))
    except WindowTooEmpty:
        assume(False)
        raise


def digests(snapshot: Snapshot) -> dict[str, str]:
    return {partition.week: partition.rows_digest for partition in snapshot.partitions}


@settings(deadline=None, max_examples=25)
@given(rows(), st.randoms())
def test_a_rerun_elsewhere_with_rows_in_another_order_gives_the_same_snapshot_and_rows(
    held: list[Row], dice: object
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one = built(Path(folder) / "a", held)
        dice.shuffle(held)  # type: ignore[attr-defined]  # hypothesis' Random
        other = built(Path(folder) / "b", held)
        assert one.snapshot_id == other.snapshot_id
        for mine, theirs in zip(
            (one.train, one.validation, one.test),
            (other.train, other.validation, other.test),
            strict=True,
        ):
            assert column_digests(read_split(one, mine).combine_chunks()) == column_digests(
                read_split(other, theirs).combine_chunks()
            )


@settings(deadline=None, max_examples=25)
@given(rows(), st.integers(0, 10_000))
def test_a_late_row_renames_its_own_week_only(held: list[Row], choice: int) -> None:
    since = END - SPEC.late_rows
    recent = [number for number, row in enumerate(held) if row["at"] >= since]  # type: ignore[operator]
    late = recent[choice % len(recent)]
    with tempfile.TemporaryDirectory() as folder:
        before = digests(
            built(Path(folder), [row for number, row in enumerate(held) if number != late])
        )
        after = digests(built(Path(folder), held))
        assert {week for week in after if after[week] != before.get(week)} == {
            week_of(held[late]["at"])
        }  # type: ignore[arg-type]  # a moment


@settings(deadline=None, max_examples=25)
@given(rows(), st.lists(st.integers(1, 30), min_size=1, max_size=3))
def test_whatever_runs_came_before_the_snapshot_is_that_of_a_fresh_store(
    held: list[Row], days_before: list[int]
) -> None:
    """Rows arrive at their event time. Runs miss weeks, repeat them, or end within a week."""
    with tempfile.TemporaryDirectory() as folder:
        for days in days_before:
            end = END - timedelta(days=days)
            try:
                build_snapshot(
                    SPEC,
                    end,
                    FakeSource(table_of([row for row in held if row["at"] < end])),
                    PartitionStore(Path(folder) / "used"),
                )  # type: ignore[operator]  # a moment
            except WindowTooEmpty:
                continue
        assert (
            built(Path(folder) / "used", held).snapshot_id
            == built(Path(folder) / "fresh", held).snapshot_id
        )


@settings(deadline=None, max_examples=50)
@given(rows(days=6), st.integers(0, 5))
def test_how_arrow_lays_rows_out_does_not_change_their_digest(
    held: list[Row], skipped: int
) -> None:
    table = in_key_order(in_canonical_types(table_of(held)), "id")
    pieces = pa.concat_tables([table.slice(start, 1) for start in range(table.num_rows)])
    assert rows_digest(column_digests(pieces), table.num_rows) == rows_digest(
        column_digests(table), table.num_rows
    )
    part, copied = table.slice(skipped), table_of(held[skipped:])
    assert column_digests(part) == column_digests(in_key_order(in_canonical_types(copied), "id"))


@settings(deadline=None, max_examples=50)
@given(rows(days=5), rows(days=5))
def test_only_the_same_rows_have_the_same_digest(one: list[Row], other: list[Row]) -> None:
    tables = [in_key_order(in_canonical_types(table_of(held)), "id") for held in (one, other)]
    names = [rows_digest(column_digests(table), table.num_rows) for table in tables]
    assert (names[0] == names[1]) == (repr(tables[0].to_pylist()) == repr(tables[1].to_pylist()))
