"""The sliding window, its ISO weeks, and its cut into train, validation and test. Pure."""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from retrain.contract import Split, utc_text
from retrain.errors import NaiveTimeError, WindowInFuture, WindowTooEmpty

_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Window:
    """The moments from `start` on and before `end`, both UTC."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f"[{utc_text(self.start)}, {utc_text(self.end)})"


@dataclass(frozen=True)
class GroupTimes:
    """The groups of a window in parallel arrays, in any order; names are unique."""

    names: NDArray[np.str_]
    first: NDArray[np.datetime64]
    """UTC microseconds of a group's first row."""
    last: NDArray[np.datetime64]
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class Cut:
    """The three splits of a window."""

    train: Split
    validation: Split
    test: Split


def sliding_window(end: datetime, *, months: int) -> Window:
    """Return the half-open UTC window of `months` calendar months that stops before `end`.

    Args:
        end: Aware; the run's data-interval end, so that a re-run sees the same rows.
        months: At least 1. A day the first month lacks becomes that month's last day.

    Raises:
        NaiveTimeError: `end` has no time zone.

    >>> sliding_window(datetime(2026, 5, 31, tzinfo=UTC), months=3).start.date().isoformat()
    '2026-02-28'
    """
    if end.tzinfo is None:
        raise NaiveTimeError(
            f"a window's end must say its time zone, is {end.isoformat()}; add +00:00"
        )
    end = end.astimezone(UTC)
    year, month = divmod(end.year * 12 + end.month - 1 - months, 12)
    day = min(end.day, calendar.monthrange(year, month + 1)[1])
    return Window(end.replace(year=year, month=month + 1, day=day), end)


def check_not_in_future(end: datetime, *, now: datetime) -> None:
    """Return when a window may end at `end`.

    Args:
        end: Aware; the first moment that is no longer in the window.
        now: Aware.

    Raises:
        WindowInFuture: `end` is later than `now`.
    """
    if end > now:
        raise WindowInFuture(
            f"the window's end {utc_text(end)} is in the future, for it is {utc_text(now)}:"
            " its rows are not there yet. Choose an --end up to now"
        )


def week_of(moment: datetime) -> str:
    """Return the ISO week that a UTC moment lies in.

    >>> week_of(datetime(2013, 12, 30, tzinfo=UTC))
    '2014-W01'
    """
    year, week, _ = moment.isocalendar()
    return f"{year}-W{week:02d}"


def week_bounds(week: str) -> Window:
    """Return the seven days of an ISO week, Monday midnight to Monday midnight, UTC.

    >>> print(week_bounds("2013-W27"))
    [2013-07-01T00:00:00Z, 2013-07-08T00:00:00Z)
    """
    monday = date.fromisocalendar(int(week[:4]), int(week[6:]), 1)
    start = datetime(monday.year, monday.month, monday.day, tzinfo=UTC)
    return Window(start, start + timedelta(days=7))


def weeks_within(window: Window) -> tuple[str, ...]:
    """Return the ISO weeks that share a moment with a window, oldest first.

    >>> weeks_within(Window(datetime(2013, 7, 3, tzinfo=UTC), datetime(2013, 7, 15, tzinfo=UTC)))
    ('2013-W27', '2013-W28')
    """
    weeks = []
    monday = week_bounds(week_of(window.start)).start
    while monday < window.end:
        weeks.append(week_of(monday))
        monday += timedelta(days=7)
    return tuple(weeks)


def weeks_without_rows(
    window: Window, with_rows: Sequence[str], *, label_delay: timedelta
) -> tuple[str, ...]:
    """Return the window's last weeks that should hold rows and hold none.

    The source is then behind, or has stopped.

    A week should hold rows when the labels of at least its first day are ripe. A query may leave
    out rows whose labels are not.

    Args:
        window: Half-open.
        with_rows: The ISO weeks that have rows.
        label_delay: How long after its event a row's label is known.

    >>> july = Window(datetime(2013, 7, 1, tzinfo=UTC), datetime(2013, 7, 15, tzinfo=UTC))
    >>> weeks_without_rows(july, ["2013-W27"], label_delay=timedelta(days=1))
    ('2013-W28',)
    """
    newest = max(with_rows, default="")
    ripe_end = window.end - label_delay
    later = [week for week in weeks_within(window) if week > newest]
    return tuple(week for week in later if week_bounds(week).start + _DAY <= ripe_end)


def cut(
    window: Window,
    groups: GroupTimes,
    *,
    label_delay: timedelta,
    validation: timedelta,
    test: timedelta,
) -> Cut:
    """Return the splits of a window: whole groups, each where its first row falls.

    A row's label is ripe when its event time lies more than `label_delay` before the window's end.
    A group with an unripe row, or that begins before the window, is in no split. Test is the last
    `test` UTC days in which a ripe group begins, validation the time before it, train the rest.
    A split's rows are exactly those of the window whose group is in `groups` and whose event time
    is in `[start, end)`. Its end lies behind the last rows of its groups, also where they reach
    into the time of the next split.

    Args:
        window: Half-open.
        groups: Every group that has rows in the window. Its first row may lie before the window.
        label_delay: How long after its event a row's label is known.
        validation: At least a day, or groups fall out of it by chance.
        test: As validation.

    Raises:
        WindowTooEmpty: A split would have no group.
    """
    ripe_end = window.end - label_delay
    usable = (groups.first >= moment64(window.start)) & (groups.last < moment64(ripe_end))
    if not usable.any():
        raise WindowTooEmpty(
            f"no group lies whole in {window} with labels ripe {label_delay} before its end;"
            f" {len(groups.names)} groups have rows in it"
        )
    last_day: date = groups.first[usable].max().astype("datetime64[D]").item()
    test_start = (
        datetime(last_day.year, last_day.month, last_day.day, tzinfo=UTC) + timedelta(days=1) - test
    )
    starts = [
        max(start, window.start) for start in (window.start, test_start - validation, test_start)
    ]
    splits = [
        _split(groups, usable, start, min(until, ripe_end), name=name, window=window)
        for name, start, until in zip(
            ("train", "validation", "test"), starts, (*starts[1:], ripe_end), strict=True
        )
    ]
    return Cut(*splits)


def fixed_split(span: Window, groups: GroupTimes) -> Split:
    """Return the groups that lie whole in the days of the fixed test.

    Raises:
        WindowTooEmpty: There is none.
    """
    whole = (groups.first >= moment64(span.start)) & (groups.last < moment64(span.end))
    if not whole.any():
        raise WindowTooEmpty(
            f"`fixed_test` would have no group: none lies whole in {span};"
            " load its rows, or choose other days"
        )
    return _split(groups, whole, span.start, span.end, name="fixed_test", window=span)


def outside_of(span: Window, fixed: GroupTimes, groups: GroupTimes) -> GroupTimes:
    """Return the groups that have no row in the days of the fixed test.

    Args:
        span: The days.
        fixed: The groups with rows near these days.
        groups: Those of the window.
    """
    inside = _reaches_into(span, fixed)
    keep = ~(np.isin(groups.names, fixed.names[inside]) | _reaches_into(span, groups))
    return GroupTimes(groups.names[keep], groups.first[keep], groups.last[keep], groups.rows[keep])


def _reaches_into(span: Window, groups: GroupTimes) -> NDArray[np.bool_]:
    reaches: NDArray[np.bool_] = (groups.first < moment64(span.end)) & (
        groups.last >= moment64(span.start)
    )
    return reaches


def _split(
    groups: GroupTimes,
    usable: NDArray[np.bool_],
    start: datetime,
    until: datetime,
    *,
    name: str,
    window: Window,
) -> Split:
    """Return the groups that begin in `[start, until)`. The split ends behind their last row."""
    chosen = usable & (groups.first >= moment64(start)) & (groups.first < moment64(until))
    if not chosen.any():
        raise WindowTooEmpty(
            f"{name} would have no group: none begins in [{utc_text(start)}, {utc_text(until)})"
            f" of the window {window}, where {int(usable.sum())} groups lie whole with ripe labels;"
            " load more rows, or make validation and test shorter or the window longer"
        )
    last: datetime = groups.last[chosen].max().astype("datetime64[us]").item()
    return Split(
        groups=tuple(sorted(groups.names[chosen].tolist())),
        start=start,
        end=max(until, last.replace(tzinfo=UTC) + _MICROSECOND),
        rows=int(groups.rows[chosen].sum()),
    )


def moment64(moment: datetime) -> np.datetime64:
    """Return an aware moment as numpy's microseconds of UTC."""
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")
