"""What `retrain plan` foresees is what a run does, and what no run can do is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.errors import WindowTooEmpty
from retrain.plan import expected_cut, plan_run
from retrain.snapshot.window import sliding_window
from tests.grounds.learnable_rows import make_spec

END = datetime(2013, 7, 8, tzinfo=UTC)


def days(number: float) -> timedelta:
    return timedelta(days=number)


def test_the_plan_names_the_days_of_each_split(tmp_path: Path) -> None:
    spec = make_spec(validation=days(14), test=days(7))
    text = plan_run(spec, END, str(tmp_path)).as_text()
    assert (
        "train 2013-04-08 to 2013-06-15 (69 days), validation 2013-06-16 to 2013-06-29 (14 days),"
        " test 2013-06-30 to 2013-07-06 (7 days)" in text
    )
    assert "warning" not in text


def test_too_few_test_days_for_the_gate_are_foreseen(tmp_path: Path) -> None:
    planned = plan_run(make_spec(test=days(4)), END, str(tmp_path))
    assert "a test of 4 days gives at most 4 groups of a day, and the gate needs" in (
        planned.as_text()
    )


@pytest.mark.parametrize(
    "lengths",
    [
        {"label_delay": days(100)},
        {"test": days(120)},
        {"validation": days(89)},
        {"label_delay": days(60), "validation": days(20), "test": days(12)},
    ],
)
def test_lengths_that_leave_a_split_without_a_day_are_refused(
    tmp_path: Path, lengths: dict[str, timedelta]
) -> None:
    with pytest.raises(WindowTooEmpty):
        plan_run(make_spec(**lengths), END, str(tmp_path))


@given(
    minutes=st.integers(0, 525_600),
    delay=st.integers(0, 200),
    test=st.integers(1, 20),
    validation=st.integers(1, 20),
)
def test_splits_are_whole_days_in_order_within_the_window(
    minutes: int, delay: int, test: int, validation: int
) -> None:
    end = datetime(2013, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    spec = make_spec(
        label_delay=timedelta(hours=delay), test=days(test), validation=days(validation)
    )
    window = sliding_window(end, months=spec.window_months)
    found = expected_cut(spec, window)
    named = [*found.train.groups, *found.validation.groups, *found.test.groups]
    assert named == sorted(set(named))
    assert len(found.test.groups) == test
    assert f"{window.start:%Y-%m-%d}" <= named[0]
    assert named[-1] <= f"{end - spec.label_delay:%Y-%m-%d}"
