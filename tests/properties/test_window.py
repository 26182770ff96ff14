"""The window's promises for any end, any groups and any lengths."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from retrain.contract import Split
from retrain.errors import WindowTooEmpty
from retrain.snapshot.window import (
    Cut,
    GroupTimes,
    Window,
    cut,
    sliding_window,
    week_bounds,
    weeks_within,
)

FIRST, LAST = datetime(1999, 1, 1), datetime(2040, 1, 1)  # noqa: DTZ001 - hypothesis wants them naive
moments = st.datetimes(FIRST, LAST).map(lambda moment: moment.replace(tzinfo=UTC))
END = datetime(2024, 3, 4, tzinfo=UTC)
WINDOW = sliding_window(END, months=2)
Rows = list[tuple[str, datetime]]


@st.composite
def rows_in_groups(draw: st.DrawFn) -> Rows:
    """Rows of groups that begin anywhere around the window and last from a moment to weeks."""
    rows: Rows = []
    for group in range(draw(st.integers(1, 40))):
        begins = draw(st.datetimes(datetime(2023, 12, 20), datetime(2024, 3, 5)))  # noqa: DTZ001 - hypothesis wants them naive
        lasts_hours = draw(st.lists(st.integers(0, 24 * 20), min_size=1, max_size=4))
        rows += [
            (f"g{group:02d}", begins.replace(tzinfo=UTC) + timedelta(hours=hours))
            for hours in lasts_hours
        ]
    return [row for row in rows if row[1] < END]


def times_of(rows: Rows) -> GroupTimes:
    names = sorted({name for name, _ in rows})
    moments_of = {
        name: np.array(
            [at.replace(tzinfo=None) for other, at in rows if other == name], "datetime64[us]"
        )
        for name in names
    }
    return GroupTimes(
        np.array(names, np.str_),
        np.array([moments_of[name].min() for name in names], "datetime64[us]"),
        np.array([moments_of[name].max() for name in names], "datetime64[us]"),
        np.array([len(moments_of[name]) for name in names], np.int64),
    )


def inside(split: Split, rows: Rows) -> Rows:
    """The rule that every consumer of a split follows."""
    return [
        (group, at) for group, at in rows if group in split.groups and split.start <= at < split.end
    ]


def cut_of(rows: Rows, label_delay: timedelta, validation: timedelta, test: timedelta) -> Cut:
    try:
        return cut(
            WINDOW, times_of(rows), label_delay=label_delay, validation=validation, test=test
        )
    except WindowTooEmpty:
        assume(False)
        raise


days = st.integers(1, 12).map(lambda number: timedelta(days=number))
delays = st.integers(0, 96).map(lambda number: timedelta(hours=number))


@given(moments, st.integers(1, 40))
def test_a_window_is_months_long_to_the_day_and_a_later_end_never_starts_earlier(
    end: datetime, months: int
) -> None:
    window = sliding_window(end, months=months)
    assert (
        window.end.year - window.start.year
    ) * 12 + window.end.month - window.start.month == months
    assert window.start.time() == end.time()
    assert end.day - 3 <= window.start.day <= end.day
    assert window.start <= sliding_window(
        end + timedelta(hours=1), months=months
    ).start + timedelta(days=3)


@given(moments, st.integers(0, 100 * 24))
def test_every_moment_of_a_window_lies_in_exactly_one_of_its_weeks(
    start: datetime, hours: int
) -> None:
    window = Window(start, start + timedelta(hours=hours, microseconds=1))
    weeks = [week_bounds(week) for week in weeks_within(window)]
    assert weeks[0].start <= window.start
    assert weeks[-1].start < window.end <= weeks[-1].end
    assert all(before.end == after.start for before, after in pairwise(weeks))


@given(rows_in_groups(), delays, days, days)
def test_groups_stay_whole_and_no_row_is_in_two_splits(
    rows: Rows, label_delay: timedelta, validation: timedelta, test: timedelta
) -> None:
    splits = cut_of(rows, label_delay, validation, test)
    parts = [splits.train, splits.validation, splits.test]
    assert sum(len(part.groups) for part in parts) == len(
        {group for part in parts for group in part.groups}
    )
    for part in parts:
        assert (
            len(inside(part, rows))
            == part.rows
            == sum(1 for group, _ in rows if group in part.groups)
        )


@given(rows_in_groups(), delays, days, days)
def test_every_row_of_a_split_lies_in_the_half_open_window_with_a_ripe_label(
    rows: Rows, label_delay: timedelta, validation: timedelta, test: timedelta
) -> None:
    splits = cut_of(rows, label_delay, validation, test)
    for part in (splits.train, splits.validation, splits.test):
        assert all(WINDOW.start <= at < END - label_delay for _, at in inside(part, rows))


@given(rows_in_groups(), delays, days, days)
def test_splits_follow_each_other_by_the_first_rows_of_their_groups(
    rows: Rows, label_delay: timedelta, validation: timedelta, test: timedelta
) -> None:
    splits = cut_of(rows, label_delay, validation, test)
    begins = [
        [min(at for other, at in rows if other == group) for group in part.groups]
        for part in (splits.train, splits.validation, splits.test)
    ]
    assert max(begins[0]) < min(begins[1]) <= max(begins[1]) < min(begins[2])
    assert max(begins[2]) - min(begins[2]) < test
    assert (
        splits.test.start - splits.validation.start == validation
        or splits.validation.start == WINDOW.start
    )


@given(rows_in_groups(), delays, days, days, st.randoms())
def test_the_order_of_groups_does_not_matter(
    rows: Rows, label_delay: timedelta, validation: timedelta, test: timedelta, dice: object
) -> None:
    splits = cut_of(rows, label_delay, validation, test)
    times = times_of(rows)
    order = np.arange(len(times.names))
    dice.shuffle(order)  # type: ignore[attr-defined]  # hypothesis' Random
    shuffled = GroupTimes(
        times.names[order], times.first[order], times.last[order], times.rows[order]
    )
    assert (
        cut(WINDOW, shuffled, label_delay=label_delay, validation=validation, test=test) == splits
    )
