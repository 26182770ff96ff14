from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from retrain.errors import NaiveTimeError, WindowInFuture, WindowTooEmpty
from retrain.snapshot.window import (
    GroupTimes,
    Window,
    check_not_in_future,
    cut,
    sliding_window,
    week_bounds,
    week_of,
    weeks_within,
    weeks_without_rows,
)

JULY_8 = datetime(2013, 7, 8, tzinfo=UTC)
DAY = timedelta(days=1)


def days_as_groups(first: datetime, days: int, *, hours: float = 18.0) -> GroupTimes:
    """A group a day, from 06:00 UTC and for `hours`, as flights of a local day lie."""
    starts = np.array(
        [(first + n * DAY + timedelta(hours=6)).replace(tzinfo=None) for n in range(days)],
        "datetime64[us]",
    )
    names = np.array([f"{first + n * DAY:%Y-%m-%d}" for n in range(days)])
    return GroupTimes(
        names, starts, starts + np.timedelta64(int(hours * 3600), "s"), np.full(days, 10, np.int64)
    )


@pytest.mark.parametrize(
    ("end", "months", "start"),
    [
        (datetime(2013, 7, 8, tzinfo=UTC), 3, datetime(2013, 4, 8, tzinfo=UTC)),
        (datetime(2024, 5, 31, tzinfo=UTC), 3, datetime(2024, 2, 29, tzinfo=UTC)),
        (datetime(2023, 5, 31, tzinfo=UTC), 3, datetime(2023, 2, 28, tzinfo=UTC)),
        (datetime(2024, 2, 29, tzinfo=UTC), 12, datetime(2023, 2, 28, tzinfo=UTC)),
        (datetime(2024, 1, 15, 6, tzinfo=UTC), 1, datetime(2023, 12, 15, 6, tzinfo=UTC)),
        (datetime(2024, 1, 1, tzinfo=UTC), 12, datetime(2023, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_window_goes_back_calendar_months(end: datetime, months: int, start: datetime) -> None:
    assert sliding_window(end, months=months) == Window(start, end)


@pytest.mark.parametrize(
    ("end", "label_delay", "newest", "missing"),
    [
        (datetime(2013, 7, 22, tzinfo=UTC), 1, "2013-W27", ("2013-W28", "2013-W29")),
        (datetime(2013, 7, 23, tzinfo=UTC), 1, "2013-W27", ("2013-W28", "2013-W29")),
        (datetime(2013, 7, 23, tzinfo=UTC), 0, "2013-W27", ("2013-W28", "2013-W29", "2013-W30")),
        (datetime(2013, 7, 23, tzinfo=UTC), 9, "2013-W27", ("2013-W28",)),
        (datetime(2013, 7, 23, tzinfo=UTC), 30, "2013-W27", ()),
        (datetime(2013, 7, 22, tzinfo=UTC), 1, "2013-W29", ()),
        (datetime(2014, 1, 6, tzinfo=UTC), 0, "2013-W52", ("2014-W01",)),
    ],
)
def test_weeks_without_rows_are_those_after_the_newest_row_that_have_a_day_with_ripe_labels(
    end: datetime, label_delay: int, newest: str, missing: tuple[str, ...]
) -> None:
    window = sliding_window(end, months=1)
    assert (
        weeks_without_rows(window, ["2013-W20", newest], label_delay=label_delay * DAY) == missing
    )


def test_a_window_may_end_now_but_not_later() -> None:
    check_not_in_future(JULY_8, now=JULY_8)
    with pytest.raises(
        WindowInFuture,
        match=r"2013-07-08T00:00:00Z is in the future, for it is 2013-07-07T00:00:00Z",
    ):
        check_not_in_future(JULY_8, now=JULY_8 - DAY)


def test_an_end_in_another_time_zone_is_the_same_moment_in_utc() -> None:
    assert sliding_window(
        datetime(2013, 7, 8, 2, tzinfo=timezone(timedelta(hours=2))), months=3
    ) == sliding_window(JULY_8, months=3)


def test_an_end_without_time_zone_is_refused() -> None:
    with pytest.raises(NaiveTimeError, match=r"2013-07-08.*add \+00:00"):
        sliding_window(datetime(2013, 7, 8), months=3)  # noqa: DTZ001 - the mistake under test


def test_iso_weeks_at_the_turn_of_the_year_belong_to_the_year_of_their_thursday() -> None:
    assert [
        week_of(datetime(*day, tzinfo=UTC))
        for day in ((2012, 12, 31), (2016, 1, 3), (2020, 12, 31))
    ] == ["2013-W01", "2015-W53", "2020-W53"]
    assert week_bounds("2013-W01") == Window(
        datetime(2012, 12, 31, tzinfo=UTC), datetime(2013, 1, 7, tzinfo=UTC)
    )


def test_a_week_that_the_window_only_touches_at_its_end_is_not_in_it() -> None:
    assert weeks_within(Window(JULY_8 - 7 * DAY, JULY_8)) == ("2013-W27",)
    assert weeks_within(
        Window(JULY_8 - timedelta(microseconds=1), JULY_8 + timedelta(microseconds=1))
    ) == ("2013-W27", "2013-W28")


def test_test_is_the_last_days_with_ripe_labels_validation_the_days_before() -> None:
    splits = cut(
        sliding_window(JULY_8, months=1),
        days_as_groups(datetime(2013, 6, 1, tzinfo=UTC), 37, hours=22),
        label_delay=DAY,
        validation=14 * DAY,
        test=7 * DAY,
    )
    assert (splits.test.groups[0], splits.test.groups[-1], len(splits.test.groups)) == (
        "2013-06-29",
        "2013-07-05",
        7,
    )
    assert (
        splits.validation.groups[0],
        splits.validation.groups[-1],
        len(splits.validation.groups),
    ) == ("2013-06-15", "2013-06-28", 14)
    assert (splits.train.groups[0], splits.train.groups[-1]) == ("2013-06-08", "2013-06-14")
    assert splits.test.end == JULY_8 - DAY


def test_a_group_with_one_unripe_row_is_left_out_whole() -> None:
    window = sliding_window(JULY_8, months=1)
    ripe = cut(
        window,
        days_as_groups(datetime(2013, 6, 1, tzinfo=UTC), 37, hours=17.999),
        label_delay=DAY,
        validation=14 * DAY,
        test=7 * DAY,
    )
    unripe = cut(
        window,
        days_as_groups(datetime(2013, 6, 1, tzinfo=UTC), 37, hours=18),
        label_delay=DAY,
        validation=14 * DAY,
        test=7 * DAY,
    )
    assert (ripe.test.groups[-1], unripe.test.groups[-1]) == ("2013-07-06", "2013-07-05")


def test_a_splits_end_lies_behind_the_last_row_of_its_groups() -> None:
    splits = cut(
        sliding_window(JULY_8, months=1),
        days_as_groups(datetime(2013, 6, 1, tzinfo=UTC), 37, hours=22),
        label_delay=DAY,
        validation=14 * DAY,
        test=7 * DAY,
    )
    assert splits.train.end == datetime(2013, 6, 15, 4, tzinfo=UTC) + timedelta(microseconds=1)
    assert splits.validation.start == datetime(2013, 6, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("days", "sentence"),
    [
        (0, "no group lies whole in"),
        (1, "no group lies whole in"),
        (2, "train would have no group"),
        (20, "train would have no group"),
    ],
)
def test_a_window_with_too_few_groups_says_which_split_is_empty_and_what_to_do(
    days: int, sentence: str
) -> None:
    with pytest.raises(WindowTooEmpty, match=sentence):
        cut(
            sliding_window(JULY_8, months=1),
            days_as_groups(JULY_8 - (days + 1) * DAY, days),
            label_delay=DAY,
            validation=14 * DAY,
            test=7 * DAY,
        )
