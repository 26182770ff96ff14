"""How much better one model is than another on the same rows: a jackknife over groups. Pure.

Rows of one group (a day) share luck, so the jackknife leaves out one group at a time. Sources:
Bell & McCaffrey 2002; MacKinnon, Nielsen & Webb 2023 (CV3).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from retrain.comparison.metrics import (
    Metric,
    checked_labels,
    checked_scores,
    metric_named,
    row_values,
    unchanged,
)
from retrain.comparison.ranking import Codes, Counts, Floats, NotComparable, Ranking
from retrain.contract import Comparison, Interval

MIN_EFFECTIVE_GROUPS = 5
"""Fewer groups prove nothing: type-I errors were calibrated from 5 groups on (docs/facts.md)."""
MAX_GROUPS = 65_535
LARGEST_QUANTILE = 1e6
"""Of Student's t. Beyond it (below 1.2 effective groups) an interval says nothing, and its
computation overflows."""


def compare(
    metric: str,
    labels: ArrayLike,
    champion: ArrayLike,
    challenger: ArrayLike,
    groups: ArrayLike,
    *,
    confidence: float,
    where: str = "all rows",
) -> Comparison:
    """Return both models' figures and the interval of the challenger's improvement.

    The interval is the jackknife's, which leaves out one group at a time.

    Args:
        metric: A name that `metric_named` takes.
        labels: True or false (1 or 0) a row, or a number, as the metric takes them.
        champion: The champion's answer to each row.
        challenger: The challenger's, to the same rows in the same order.
        groups: The group of each row, such as its day.
        confidence: One-sided, of each bound; between 0.5 and 1.
        where: Which rows these are, for people.

    Raises:
        NotComparable: Lengths differ, a value is missing or not what the metric takes, there are
            fewer than 2 groups, or a metric of the rows' order meets one class only.

    >>> champion, challenger, groups = [0.5] * 4, [0.9, 0.1, 0.7, 0.3], [1, 1, 2, 2]
    >>> both = compare("brier", [1, 0, 1, 0], champion, challenger, groups, confidence=0.8)
    >>> round(both.improvement.estimate, 9)
    0.2
    """
    chosen = metric_named(metric)
    truth = checked_labels(chosen, labels)
    old = checked_scores(chosen, champion, truth, "the champion's")
    new = checked_scores(chosen, challenger, truth, "the challenger's")
    codes, sizes = group_codes(groups)
    _check_groups(codes, sizes, truth)
    rows = _Rows(truth, codes, sizes)
    figures = (
        _means(chosen, rows, old, new)
        if chosen.ranking is None
        else _rankings(chosen.ranking, rows, old, new)
    )
    effective = effective_groups(sizes)
    return Comparison(
        metric=metric,
        where=where,
        champion=figures.champion,
        challenger=figures.challenger,
        improvement=_interval(figures, effective, confidence),
        rows=len(truth),
        groups=len(sizes),
        effective_groups=effective,
    )


def effective_groups(sizes: Counts) -> float:
    """Return N² / Σ n², the number of equal groups that these are worth.

    >>> effective_groups(np.array([10, 10, 10]))
    3.0
    """
    shares = sizes / sizes.sum()
    return float(1 / np.sum(shares**2))


def standard_error(comparison: Comparison) -> float:
    """Return the jackknife's standard error of the improvement."""
    interval = comparison.improvement
    quantile = t_quantile(interval.confidence, comparison.effective_groups)
    return (interval.upper - interval.lower) / 2 / quantile


def t_quantile(confidence: float, effective: float) -> float:
    """Return Student's t quantile with `effective` - 1 degrees of freedom.

    >>> round(t_quantile(0.95, 14), 3)
    1.771
    """
    return float(stdtrit(effective - 1, confidence))


def p_value_of_harm(comparison: Comparison, *, beyond: float) -> float:
    """Return the one-sided p-value against "the challenger is worse by at most `beyond`".

    `beyond` is in the metric's own unit.
    """
    excess = -comparison.improvement.estimate - beyond
    error = standard_error(comparison)
    if error == 0:
        return 0.0 if excess > 0 else 1.0
    return float(stdtr(comparison.effective_groups - 1, -excess / error))


def group_codes(groups: ArrayLike) -> tuple[Codes, Counts]:
    """Return each row's group as a number from 0, and how many rows each group has.

    Groups are in the order of their text.

    Raises:
        NotComparable: A row has no group, or there are too many groups.
    """
    values, distinct = _distinct(groups)
    if len(distinct) > MAX_GROUPS:
        raise NotComparable(
            f"at most {MAX_GROUPS:,} groups were expected, {len(distinct):,} found:"
            " group the rows by something coarser, such as their day"
        )
    number = {value: code for code, value in enumerate(distinct)}
    codes = np.fromiter(map(number.__getitem__, values), np.uint16, len(values))
    return codes, np.bincount(codes, minlength=len(number)).astype(np.int64)


def _distinct(groups: ArrayLike) -> tuple[list[Hashable], list[Hashable]]:
    """Return each row's group, and the different groups in the order of their text."""
    try:
        values: list[Hashable] = np.asarray(groups).tolist()
        distinct = sorted(set(values), key=str)
        has_nan = any(value != value for value in distinct)  # noqa: PLR0124 - only NaN does
    except (TypeError, ValueError) as error:
        raise NotComparable(
            "every row needs one group, such as its day:"
            " found groups that are lists or other objects"
        ) from error
    if None in distinct or has_nan:
        raise NotComparable(
            "every row needs a group, some have none:"
            " take those rows out, or give the group column a value"
        )
    return values, distinct


@dataclass(frozen=True)
class _Rows:
    labels: Any
    """Flags or numbers, as the metric takes them."""
    codes: Codes
    sizes: Counts


@dataclass(frozen=True)
class _Figures:
    """Both models' values, the improvement, and how far it moves without each group."""

    champion: float
    challenger: float
    improvement: float
    moves: Floats


def _means(metric: Metric, rows: _Rows, old: Floats, new: Floats) -> _Figures:
    before, after = row_values(metric, rows.labels, old), row_values(metric, rows.labels, new)
    if metric.of_mean is unchanged:
        gains = metric.sign * (after - before)
        improvement = float(gains.mean())
        sums = np.bincount(rows.codes, weights=gains, minlength=len(rows.sizes))
        moves = -(sums - rows.sizes * improvement) / (len(gains) - rows.sizes)
        return _Figures(float(before.mean()), float(after.mean()), improvement, moves)
    values = [float(metric.of_mean(each.mean())) for each in (before, after)]
    left_out = [metric.of_mean(_means_without_each(each, rows)) for each in (before, after)]
    improvement = metric.sign * (values[1] - values[0])
    moves = metric.sign * (left_out[1] - left_out[0]) - improvement
    return _Figures(values[0], values[1], improvement, moves)


def _means_without_each(values: Floats, rows: _Rows) -> Floats:
    """Return the mean without each group, from the sums before and behind the group.

    A difference from the whole sum would lose digits where one group holds nearly all of it.
    """
    sums = np.bincount(rows.codes, weights=values, minlength=len(rows.sizes))
    before = np.concatenate([[0], np.cumsum(sums)[:-1]])
    behind = np.concatenate([np.cumsum(sums[::-1])[:-1][::-1], [0]])
    means: Floats = (before + behind) / (len(values) - rows.sizes)
    return means


def _rankings(
    ranking: Callable[[Any, Floats, Codes, int], Ranking], rows: _Rows, old: Floats, new: Floats
) -> _Figures:
    before, after = (
        ranking(rows.labels, scores, rows.codes, len(rows.sizes)) for scores in (old, new)
    )
    improvement = after.value() - before.value()
    moves = after.without_each() - before.without_each() - improvement
    return _Figures(before.value(), after.value(), improvement, moves)


def _interval(figures: _Figures, effective: float, confidence: float) -> Interval:
    groups, quantile = len(figures.moves), t_quantile(confidence, effective)
    if not quantile < LARGEST_QUANTILE:
        raise NotComparable(
            f"one group holds nearly all rows ({effective:.3f} effective groups): use more days"
        )
    half = quantile * math.sqrt((groups - 1) / groups * float(np.sum(figures.moves**2)))
    return Interval(
        estimate=figures.improvement,
        lower=figures.improvement - half,
        upper=figures.improvement + half,
        confidence=confidence,
    )


def _check_groups(codes: Codes, sizes: Counts, labels: Any) -> None:
    if len(codes) != len(labels):
        raise NotComparable(
            f"every row needs a group, found {len(codes):,} groups for {len(labels):,} rows"
        )
    if len(sizes) < 2:
        raise NotComparable(
            f"an interval needs at least 2 groups, found {len(sizes)}: use more days"
        )
