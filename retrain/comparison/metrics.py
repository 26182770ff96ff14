"""Metrics: how well scores fit labels, by name. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrain.comparison.pair_counts import Flags, Floats, PairCounts

MetricName = Literal["log_loss", "brier", "accuracy", "roc_auc"]
"""A name in METRICS."""
LOG_LOSS_EPSILON = float(np.finfo(np.float64).eps)
"""Probabilities keep this distance (2.2e-16) from 0 and 1, as in scikit-learn for 64-bit scores.

The largest loss of a row is 36.04.
"""


class NotComparable(ValueError):
    """The rows do not allow the comparison. The message says what to do."""


@dataclass(frozen=True)
class Metric:
    """How well scores fit labels."""

    name: str
    label: str
    """The name in a sentence."""
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
    """Return which scores mean "true"; 0.5 means "false", as in scikit-learn and ONNX.

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
        NotComparable: Lengths differ, there are no rows, a value is missing or no probability, or
            ROC AUC meets one class only.

    >>> round(metric_value("brier", [1, 0], [0.8, 0.4]), 3)
    0.1
    """
    chosen = metric_named(metric)
    truth = checked_labels(labels)
    given = checked_scores(chosen, scores, truth, "the model's")
    if chosen.row_values is not None:
        return float(chosen.row_values(truth, given).mean())
    pairs = PairCounts.of(truth, given, np.zeros(len(truth), np.uint16), 1)
    require_both_classes(pairs.pairs())
    return pairs.auc()


def require_both_classes(pairs: int, problem: str = ", and all labels are the same") -> None:
    """Raise NotComparable when there is no pair of a positive and a negative row."""
    if pairs == 0:
        raise NotComparable(
            f"ROC AUC needs rows of both classes{problem}: use more days, or another metric"
        )


def metric_named(name: str) -> Metric:
    """Return the metric; NotComparable when METRICS lacks the name."""
    if name not in METRICS:
        raise NotComparable(f"metric {name!r} is unknown: use one of {', '.join(METRICS)}")
    return METRICS[name]


_NUMBER_TYPES = (bool, int, float, Decimal, np.bool_, np.integer, np.floating, type(None))


def _numbers(values: ArrayLike, whose: str) -> Floats:
    """Return the values as numbers. Text is refused, even `"1"`. No message repeats a value."""
    try:
        column = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise NotComparable(
            f"{whose} must be one number a row, found lists or other objects"
        ) from error
    if column.dtype.kind not in "biuf" and (others := _types_that_are_no_numbers(column)):
        raise NotComparable(
            f"{whose} must be numbers, found values of the type {', '.join(others)}:"
            " check the column"
        )
    try:
        with np.errstate(over="ignore"):  # a number too large becomes infinite; see below
            numbers = column.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise NotComparable(
            f"{whose} must be numbers of 64 bits, found others: check the column"
        ) from error
    if numbers.ndim != 1 or len(numbers) == 0:
        raise NotComparable(
            f"{whose} must be one number a row and at least one row,"
            f" found the shape {numbers.shape}"
        )
    if not np.isfinite(numbers).all():
        infinite = int((~np.isfinite(numbers)).sum())
        raise NotComparable(
            f"{whose} must be finite, {infinite:,} of {len(numbers):,} are missing or infinite"
        )
    return numbers


def _types_that_are_no_numbers(column: NDArray[Any]) -> list[str]:
    kinds = set(map(type, column.ravel().tolist()))
    return sorted(
        kind.__name__
        for kind in kinds
        if not issubclass(kind, _NUMBER_TYPES) or issubclass(kind, np.timedelta64)
    )


def checked_labels(labels: ArrayLike) -> Flags:
    """Return the labels as flags; NotComparable when one is neither true nor false."""
    numbers = _numbers(labels, "labels")
    flags: Flags = numbers == 1
    if not (flags | (numbers == 0)).all():
        raise NotComparable(
            "labels must be true or false (1 or 0), found others: check the label column"
        )
    return flags


def checked_scores(metric: Metric, scores: ArrayLike, labels: Flags, whose: str) -> Floats:
    """Return the scores as numbers; NotComparable when the metric cannot take them."""
    numbers = _numbers(scores, f"{whose} scores")
    if len(numbers) != len(labels):
        raise NotComparable(
            f"{whose} scores must be of the same rows as the labels,"
            f" found {len(numbers):,} scores and {len(labels):,} labels"
        )
    if metric.row_values is not None and not ((numbers >= 0) & (numbers <= 1)).all():
        raise NotComparable(
            f"{metric.label} needs probabilities, {whose} scores reach"
            f" from {numbers.min():g} to {numbers.max():g}"
        )
    return numbers
