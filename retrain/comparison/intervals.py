"""Metrics, and how much better one model is than another on the same rows: one jackknife over groups for every metric. Pure; published.

Rows of one group (a day) share luck, so the group is what is left out. Sources: Bell & McCaffrey 2002; MacKinnon, Nielsen & Webb 2023 (CV3).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

from retrain.comparison.pair_counts import Codes, Counts, Flags, Floats, PairCounts
from retrain.contract import Comparison, Interval

MIN_EFFECTIVE_GROUPS = 5
"""Below it nothing is proven: type-I errors were calibrated from 5 groups on (docs/facts.md)."""
LOG_LOSS_EPSILON = float(np.finfo(np.float64).eps)
"""Probabilities are kept this far from 0 and 1 (2.2e-16), as scikit-learn does for 64-bit scores; the largest loss of a row is 36.04."""
MAX_GROUPS = 65_535
LARGEST_QUANTILE = 1e6
"""Of Student's t: beyond it (below 1.2 effective groups) an interval says nothing, and its computation overflows."""


class NotComparable(ValueError):
    """The rows do not allow the comparison; the message says what was asked, what was found and what to do."""


@dataclass(frozen=True)
class Metric:
    """How well scores fit labels."""

    name: str
    label: str
    """As a sentence says it."""
    higher_is_better: bool
    row_values: Callable[[Flags, Floats], Floats] | None
    """Values whose mean is the metric; None for a metric of pairs of rows (ROC AUC)."""

    @property
    def sign(self) -> int:
        """What turns a difference challenger - champion into an improvement."""
        return 1 if self.higher_is_better else -1


def _log_losses(labels: Flags, scores: Floats) -> Floats:
    likelihood = np.where(labels, scores, 1 - scores)
    losses: Floats = -np.log(np.clip(likelihood, LOG_LOSS_EPSILON, 1 - LOG_LOSS_EPSILON))
    return losses


def _squared_errors(labels: Flags, scores: Floats) -> Floats:
    return (scores - labels) ** 2


def says_true(scores: ArrayLike) -> Flags:
    """Return which scores mean "true"; at exactly 0.5 the answer is "false", as scikit-learn and ONNX answer.

    >>> says_true([0.4, 0.5, 0.6]).tolist()
    [False, False, True]
    """
    flags: Flags = np.asarray(scores, dtype=np.float64) > 0.5
    return flags


def _hits(labels: Flags, scores: Floats) -> Floats:
    hits: Floats = (says_true(scores) == labels).astype(np.float64)
    return hits


METRICS: dict[str, Metric] = {
    "log_loss": Metric("log_loss", "log loss", higher_is_better=False, row_values=_log_losses),
    "brier": Metric("brier", "Brier score", higher_is_better=False, row_values=_squared_errors),
    "accuracy": Metric("accuracy", "accuracy", higher_is_better=True, row_values=_hits),
    "roc_auc": Metric("roc_auc", "ROC AUC", higher_is_better=True, row_values=None),
}


def metric_value(metric: str, labels: ArrayLike, scores: ArrayLike) -> float:
    """Return one model's figure.

    Args:
        metric: A name from `METRICS`.
        labels: True or false (1 or 0) a row.
        scores: P(label is true) a row; for `roc_auc` any finite number that orders the rows.

    Raises:
        NotComparable: Lengths differ, no rows, something missing, not a probability, or one class where two are needed.

    >>> round(metric_value("brier", [1, 0], [0.8, 0.4]), 3)
    0.1
    """
    chosen = _metric(metric)
    truth = _labels(labels)
    given = _scores(chosen, scores, truth, "the model's")
    if chosen.row_values is not None:
        return float(chosen.row_values(truth, given).mean())
    pairs = PairCounts.of(truth, given, np.zeros(len(truth), np.uint16), 1)
    _check_classes(pairs.pairs())
    return pairs.auc()


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
    """Return both models' figures and the interval of the challenger's improvement, by leaving out one group at a time.

    Args:
        metric: A name from `METRICS`.
        labels: True or false (1 or 0) a row.
        champion: The champion's P(label is true) a row.
        challenger: The challenger's, of the same rows in the same order.
        groups: The group of each row, such as its day.
        confidence: One-sided, of each bound; between 0.5 and 1.
        where: Which rows these are, for people.

    Raises:
        NotComparable: Lengths differ, something is missing, not a probability, fewer than 2 groups, or one class where two are needed.

    >>> found = compare("brier", [1, 0, 1, 0], [0.5] * 4, [0.9, 0.1, 0.7, 0.3], [1, 1, 2, 2], confidence=0.8)
    >>> round(found.improvement.estimate, 9)
    0.2
    """
    chosen = _metric(metric)
    truth = _labels(labels)
    old, new = (
        _scores(chosen, champion, truth, "the champion's"),
        _scores(chosen, challenger, truth, "the challenger's"),
    )
    codes, sizes = group_codes(groups)
    _check_groups(codes, sizes, truth)
    rows = _Rows(truth, codes, sizes)
    figures = (
        _areas(rows, old, new) if chosen.row_values is None else _means(chosen, rows, old, new)
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
    return (
        (interval.upper - interval.lower)
        / 2
        / t_quantile(interval.confidence, comparison.effective_groups)
    )


def t_quantile(confidence: float, effective: float) -> float:
    """Return Student's t quantile with `effective` - 1 degrees of freedom.

    >>> round(t_quantile(0.95, 14), 3)
    1.771
    """
    return float(stdtrit(effective - 1, confidence))


def p_value_of_harm(comparison: Comparison, *, beyond: float) -> float:
    """Return the one-sided p-value against "the challenger is worse by at most `beyond`" (in the metric's own unit)."""
    excess = -comparison.improvement.estimate - beyond
    error = standard_error(comparison)
    if error == 0:
        return 0.0 if excess > 0 else 1.0
    return float(stdtr(comparison.effective_groups - 1, -excess / error))


def group_codes(groups: ArrayLike) -> tuple[Codes, Counts]:
    """Return each row's group as a number from 0, and the groups' rows; groups are in the order of their text.

    Raises:
        NotComparable: A row has no group, or there are too many groups.
    """
    values, distinct = _distinct(groups)
    if len(distinct) > MAX_GROUPS:
        message = f"at most {MAX_GROUPS:,} groups were expected, {len(distinct):,} found: group the rows by something coarser, such as their day"
        raise NotComparable(message)
    number = {value: code for code, value in enumerate(distinct)}
    codes = np.fromiter(map(number.__getitem__, values), np.uint16, len(values))
    return codes, np.bincount(codes, minlength=len(number)).astype(np.int64)


def _distinct(groups: ArrayLike) -> tuple[list[Hashable], list[Hashable]]:
    """Return each row's group, and the different groups in the order of their text."""
    try:
        values: list[Hashable] = np.asarray(groups).tolist()
        distinct = sorted(set(values), key=str)
        is_missing = None in distinct or any(value != value for value in distinct)  # noqa: PLR0124 - only NaN differs from itself
    except (TypeError, ValueError) as error:
        message = "every row needs one group, such as its day: found groups that are lists or other objects"
        raise NotComparable(message) from error
    if is_missing:
        message = "every row needs a group, some have none: take those rows out, or give the group column a value"
        raise NotComparable(message)
    return values, distinct


@dataclass(frozen=True)
class _Rows:
    labels: Flags
    codes: Codes
    sizes: Counts


@dataclass(frozen=True)
class _Figures:
    """Both models' values, the improvement, and by how much it moves when each group is left out."""

    champion: float
    challenger: float
    improvement: float
    moves: Floats


def _means(metric: Metric, rows: _Rows, old: Floats, new: Floats) -> _Figures:
    row_values: Any = metric.row_values
    before, after = row_values(rows.labels, old), row_values(rows.labels, new)
    gains = metric.sign * (after - before)
    improvement = float(gains.mean())
    sums = np.bincount(rows.codes, weights=gains, minlength=len(rows.sizes))
    moves = -(sums - rows.sizes * improvement) / (len(gains) - rows.sizes)
    return _Figures(float(before.mean()), float(after.mean()), improvement, moves)


def _areas(rows: _Rows, old: Floats, new: Floats) -> _Figures:
    before, after = (
        PairCounts.of(rows.labels, scores, rows.codes, len(rows.sizes)) for scores in (old, new)
    )
    _check_classes(before.pairs())
    _check_classes(
        before.pairs_without_each().min(),
        " without any one group, and one group holds all rows of a class",
    )
    improvement = after.auc() - before.auc()
    return _Figures(
        before.auc(),
        after.auc(),
        improvement,
        after.auc_without_each() - before.auc_without_each() - improvement,
    )


def _check_classes(pairs: int, found: str = ", and all labels are the same") -> None:
    if pairs == 0:
        message = f"ROC AUC needs rows of both classes{found}: use more days, or another metric"
        raise NotComparable(message)


def _interval(figures: _Figures, effective: float, confidence: float) -> Interval:
    groups, quantile = len(figures.moves), t_quantile(confidence, effective)
    if not quantile < LARGEST_QUANTILE:
        message = (
            f"one group holds nearly all rows ({effective:.3f} effective groups): use more days"
        )
        raise NotComparable(message)
    half = quantile * math.sqrt((groups - 1) / groups * float(np.sum(figures.moves**2)))
    return Interval(
        estimate=figures.improvement,
        lower=figures.improvement - half,
        upper=figures.improvement + half,
        confidence=confidence,
    )


def _metric(name: str) -> Metric:
    if name not in METRICS:
        message = f"metric {name!r} is unknown: use one of {', '.join(METRICS)}"
        raise NotComparable(message)
    return METRICS[name]


_NUMBER_TYPES = (bool, int, float, Decimal, np.bool_, np.integer, np.floating, type(None))


def _numbers(values: ArrayLike, whose: str) -> Floats:
    """Return the values as numbers; a text is none, whatever stands in it. No message repeats a value."""
    try:
        column = np.asarray(values)
    except (TypeError, ValueError) as error:
        message = f"{whose} must be one number a row, found lists or other objects"
        raise NotComparable(message) from error
    if column.dtype.kind not in "biuf" and (others := _types_that_are_no_numbers(column)):
        message = f"{whose} must be numbers, found values of the type {', '.join(others)}: check the column"
        raise NotComparable(message)
    try:
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused below
            numbers = column.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        message = f"{whose} must be numbers of 64 bits, found others: check the column"
        raise NotComparable(message) from error
    if numbers.ndim != 1 or len(numbers) == 0:
        message = f"{whose} must be one number a row and at least one row, found the shape {numbers.shape}"
        raise NotComparable(message)
    if not np.isfinite(numbers).all():
        message = f"{whose} must be finite, {int((~np.isfinite(numbers)).sum()):,} of {len(numbers):,} are missing or infinite"
        raise NotComparable(message)
    return numbers


def _types_that_are_no_numbers(column: NDArray[Any]) -> list[str]:
    kinds = set(map(type, column.ravel().tolist()))
    return sorted(
        kind.__name__
        for kind in kinds
        if not issubclass(kind, _NUMBER_TYPES) or issubclass(kind, np.timedelta64)
    )


def _labels(labels: ArrayLike) -> Flags:
    numbers = _numbers(labels, "labels")
    flags: Flags = numbers == 1
    if not (flags | (numbers == 0)).all():
        message = "labels must be true or false (1 or 0), found others: check the label column"
        raise NotComparable(message)
    return flags


def _scores(metric: Metric, scores: ArrayLike, labels: Flags, whose: str) -> Floats:
    numbers = _numbers(scores, f"{whose} scores")
    if len(numbers) != len(labels):
        message = f"{whose} scores must be of the same rows as the labels, found {len(numbers):,} scores and {len(labels):,} labels"
        raise NotComparable(message)
    if metric.row_values is not None and not ((numbers >= 0) & (numbers <= 1)).all():
        message = f"{metric.label} needs probabilities, {whose} scores reach from {numbers.min():g} to {numbers.max():g}"
        raise NotComparable(message)
    return numbers


def _check_groups(codes: Codes, sizes: Counts, labels: Flags) -> None:
    if len(codes) != len(labels):
        message = f"every row needs a group, found {len(codes):,} groups for {len(labels):,} rows"
        raise NotComparable(message)
    if len(sizes) < 2:
        message = f"an interval needs at least 2 groups, found {len(sizes)}: use more days"
        raise NotComparable(message)
