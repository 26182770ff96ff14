"""Rows of the fixed test are read once and are in no other split."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrain.contract import Snapshot
from retrain.errors import WindowTooEmpty
from retrain.snapshot.snapshot import build_snapshot, read_split
from retrain.snapshot.store import PartitionStore
from retrain.snapshot.window import week_bounds, weeks_within
from retrain.spec.model_file import FixedTest, ModelSpec
from tests.fakes.row_source import FakeSource, small_spec, things

JULY_8 = datetime(2013, 7, 8, tzinfo=UTC)
MARCH = datetime(2013, 3, 1, tzinfo=UTC)
ROWS = things(MARCH, days=150, rows_per_day=4)
SPLITS = ("train", "validation", "test")


def spec_with(first: date, to: date) -> ModelSpec:
    return small_spec(fixed_test=FixedTest.model_validate({"from": first, "to": to}))


APRIL = spec_with(date(2013, 4, 10), date(2013, 4, 15))


def built(spec: ModelSpec, source: FakeSource, store: Path, end: datetime = JULY_8) -> Snapshot:
    return build_snapshot(spec, end, source, PartitionStore(store))


def days_of(snapshot: Snapshot, *splits: str) -> set[str]:
    return {group for name in splits for group in getattr(snapshot, name).groups}


def test_days_before_the_window_are_the_fixed_test_and_are_read_once(tmp_path: Path) -> None:
    source = FakeSource(ROWS)
    snapshot = built(APRIL, source, tmp_path)
    assert snapshot.fixed_test is not None
    assert days_of(snapshot, "fixed_test") == {f"2013-04-{day}" for day in range(10, 15)}
    assert read_split(snapshot, snapshot.fixed_test).num_rows == snapshot.fixed_test.rows == 20
    asked = len(source.asked)
    later = built(APRIL, source, tmp_path, JULY_8 + timedelta(days=7))
    assert all(span.start > datetime(2013, 6, 1, tzinfo=UTC) for span in source.asked[asked:])
    assert later.fixed_test == snapshot.fixed_test


def test_a_model_file_without_a_fixed_test_has_the_snapshot_of_before(tmp_path: Path) -> None:
    plain = built(small_spec(), FakeSource(ROWS), tmp_path)
    assert b"fixed_test" not in plain.to_bytes()
    within = built(APRIL, FakeSource(ROWS), tmp_path)
    assert (plain.train, plain.test) == (within.train, within.test)
    assert plain.snapshot_id != within.snapshot_id
    assert Snapshot.model_validate_json(within.to_bytes()) == within


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 122), st.integers(1, 20))
def test_no_row_of_the_fixed_test_is_in_another_split(
    tmp_path_factory: pytest.TempPathFactory, offset: int, days: int
) -> None:
    first = MARCH.date() + timedelta(days=offset)
    to = min(first + timedelta(days=days), date(2013, 7, 6))
    if first >= to:
        return
    try:
        snapshot = built(spec_with(first, to), FakeSource(ROWS), tmp_path_factory.mktemp("store"))
    except WindowTooEmpty:  # it took all days of a split
        assert first > date(2013, 5, 20)
        return
    fixed = days_of(snapshot, "fixed_test")
    assert fixed == {str(first + timedelta(days=day)) for day in range((to - first).days)}
    assert not fixed & days_of(snapshot, *SPLITS)
    weeks = [partition.week for partition in snapshot.partitions]
    assert weeks == sorted(set(weeks))


def test_a_group_with_rows_in_the_fixed_test_trains_no_model_elsewhere(tmp_path: Path) -> None:
    """Regular customers come in the fixed test and in June, visitors once."""
    groups = []
    for number, row in enumerate(ROWS.to_pylist()):
        day = row["at"].date()
        if date(2013, 4, 10) <= day < date(2013, 4, 15):
            groups.append(f"visitor {number}" if number % 2 else f"regular {number % 7}")
        elif date(2013, 6, 12) <= day < date(2013, 7, 1) and number % 2:
            groups.append(f"regular {number % 7}")
        else:
            groups.append(f"visitor {number}")
    table = ROWS.set_column(ROWS.column_names.index("day"), "day", [groups])
    snapshot = built(APRIL, FakeSource(table), tmp_path)
    fixed = days_of(snapshot, "fixed_test")
    assert sum(name.startswith("visitor") for name in fixed) == 10
    assert any(name.startswith("regular") for name in fixed)
    assert days_of(snapshot, *SPLITS)
    assert not any(name.startswith("regular") for name in days_of(snapshot, *SPLITS))


@pytest.mark.parametrize(
    ("first", "to", "sentence"),
    [
        (date(2013, 7, 1), date(2013, 7, 8), "ends on 2013-07-08, and its labels are known 1 day"),
        (date(2012, 4, 1), date(2012, 4, 8), "would have no group: none lies whole in"),
    ],
)
def test_a_fixed_test_that_cannot_be_says_what_to_do(
    tmp_path: Path, first: date, to: date, sentence: str
) -> None:
    with pytest.raises(WindowTooEmpty, match=sentence):
        built(spec_with(first, to), FakeSource(ROWS), tmp_path)


def test_the_weeks_of_the_fixed_test_are_whole(tmp_path: Path) -> None:
    snapshot = built(APRIL, FakeSource(ROWS), tmp_path)
    fixed = snapshot.fixed_test
    assert fixed is not None
    by_week = {partition.week: partition.rows for partition in snapshot.partitions}
    for week in weeks_within(week_bounds("2013-W15")):
        assert by_week[week] == 28
