"""Metrics: how well scores fit labels, by name. One entry in `METRICS` adds a metric. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrain.comparison.average_precision import RankedRows
from retrain.comparison.pair_counts import PairCounts
from retrain.comparison.ranking import Flags, Floats, NotComparable, Ranking

LOG_LOSS_EPSILON = float(np.finfo(np.float64).eps)
"""Probabilities keep this distance (2.2e-16) from 0 and 1, as in scikit-learn for 64-bit scores.

The largest loss of a row is 36.04.
"""

Takes = Literal["probabilities", "order", "numbers"]
"""`probabilities`: of true labels. `order`: scores that order true and false labels. `numbers`:
labels and scores in the same unit."""


def constant_mean(labels: Floats) -> float:
    """Return the mean."""
    return float(np.mean(labels))


def unchanged(mean: Any) -> Any:
    """Return the mean of the rows' values as it is."""
    return mean


@dataclass(frozen=True)
class Metric:
    """How well scores fit labels."""

    name: str
    label: str
    """The name in a sentence."""
    higher_is_better: bool
    takes: Takes
    row_values: Callable[[Any, Floats], Floats] | None = None
    """Values of which the metric is a mean; None for a metric of the rows' order."""
    of_mean: Callable[[Any], Any] = unchanged
    """What makes the mean of the row values the metric, such as the square root. It rises."""
    ranking: Callable[[Flags, Floats, Any, int], Ranking] | None = None
    """Labels, scores, each row's group, number of groups → the metric of the rows' order."""
    constant: Callable[[Floats], float] = constant_mean
    """The best answer that is the same for every row, from the training labels."""

    @property
    def sign(self) -> int:
        """What turns a difference challenger - champion into an improvement."""
        return 1 if self.higher_is_better else -1


def _log_losses(labels: Flags, scores: Floats) -> Floats:
    likelihood = np.where(labels, scores, 1 - scores)
    losses: Floats = -np.log(np.clip(likelihood, LOG_LOSS_EPSILON, 1 - LOG_LOSS_EPSILON))
    return losses


def _squared_errors(labels: Any, scores: Floats) -> Floats:
    errors: Floats = (scores - labels) ** 2
    return errors


def _absolute_errors(labels: Floats, scores: Floats) -> Floats:
    return np.abs(scores - labels)


def _quantile_losses(labels: Floats, scores: Floats, *, level: float) -> Floats:
    """Return the pinball losses (Koenker & Bassett 1978)."""
    under = labels - scores
    return np.maximum(level * under, (level - 1) * under)


def _quantile(labels: Floats, *, level: float) -> float:
    return float(np.quantile(labels, level))


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


_LOWER: dict[str, Any] = {"higher_is_better": False}
_HIGHER: dict[str, Any] = {"higher_is_better": True}
METRICS: dict[str, Metric] = {
    one.name: one
    for one in (
        Metric("log_loss", "log loss", takes="probabilities", row_values=_log_losses, **_LOWER),
        Metric("brier", "Brier score", takes="probabilities", row_values=_squared_errors, **_LOWER),
        Metric("accuracy", "accuracy", takes="probabilities", row_values=_hits, **_HIGHER),
        Metric("roc_auc", "ROC AUC", takes="order", ranking=PairCounts.of, **_HIGHER),
        Metric(
            "average_precision",
            "average precision",
            takes="order",
            ranking=RankedRows.of,
            **_HIGHER,
        ),
        Metric(
            "mae",
            "mean absolute error",
            takes="numbers",
            row_values=_absolute_errors,
            constant=partial(_quantile, level=0.5),
            **_LOWER,
        ),
        Metric(
            "rmse",
            "root mean squared error",
            takes="numbers",
            row_values=_squared_errors,
            of_mean=np.sqrt,
            **_LOWER,
        ),
    )
}
"""The metrics without a parameter. `quantile_0.9` has one: see `metric_named`."""
_QUANTILE = re.compile(r"quantile_(0\.\d{1,4})")


def metric_value(metric: str, labels: ArrayLike, scores: ArrayLike) -> float:
    """Return one model's figure.

    Args:
        metric: A name that `metric_named` takes.
        labels: True or false (1 or 0) a row, or a number, as the metric takes them.
        scores: What the model answered for each row.

    Raises:
        NotComparable: Lengths differ, there are no rows, a value is missing or not what the metric
            takes, or a metric of the rows' order meets one class only.

    >>> round(metric_value("brier", [1, 0], [0.8, 0.4]), 3)
    0.1
    """
    chosen = metric_named(metric)
    truth = checked_labels(chosen, labels)
    given = checked_scores(chosen, scores, truth, "the model's")
    if chosen.ranking is not None:
        return chosen.ranking(truth, given, np.zeros(len(truth), np.uint16), 1).value()
    return float(chosen.of_mean(row_values(chosen, truth, given).mean()))


def row_values(metric: Metric, labels: Any, scores: Floats) -> Floats:
    """Return the values of which the metric is a mean; NotComparable when they overflow."""
    if metric.row_values is None:
        raise TypeError(f"{metric.name} is no mean of rows")
    with np.errstate(over="ignore"):
        values = metric.row_values(labels, scores)
        total = float(values.sum())
    if not math.isfinite(total):
        raise NotComparable(f"{metric.label} of these labels and scores is too large for a number")
    return values


def metric_named(name: str) -> Metric:
    """Return the metric of a name in METRICS, or of `quantile_0.9`, the loss of a quantile.

    Raises:
        NotComparable: No metric has the name.

    >>> metric_named("quantile_0.9").label
    'quantile loss (0.9)'
    """
    if name in METRICS:
        return METRICS[name]
    match = _QUANTILE.fullmatch(name)
    if match is None or float(match[1]) == 0:
        known = ", ".join(METRICS)
        raise NotComparable(f"metric {name!r} is unknown: use one of {known}, quantile_0.9")
    level = float(match[1])
    return Metric(
        name,
        f"quantile loss ({match[1]})",
        takes="numbers",
        row_values=partial(_quantile_losses, level=level),
        constant=partial(_quantile, level=level),
        **_LOWER,
    )


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


def checked_labels(metric: Metric, labels: ArrayLike) -> Any:
    """Return the labels as flags or numbers; NotComparable when the metric cannot take them."""
    numbers = _numbers(labels, "labels")
    if metric.takes == "numbers":
        return numbers
    flags: Flags = numbers == 1
    if not (flags | (numbers == 0)).all():
        raise NotComparable(
            "labels must be true or false (1 or 0), found others: check the label column"
        )
    return flags


def checked_scores(metric: Metric, scores: ArrayLike, labels: Any, whose: str) -> Floats:
    """Return the scores as numbers; NotComparable when the metric cannot take them."""
    numbers = _numbers(scores, f"{whose} scores")
    if len(numbers) != len(labels):
        raise NotComparable(
            f"{whose} scores must be of the same rows as the labels,"
            f" found {len(numbers):,} scores and {len(labels):,} labels"
        )
    if metric.takes == "probabilities" and not ((numbers >= 0) & (numbers <= 1)).all():
        raise NotComparable(
            f"{metric.label} needs probabilities, {whose} scores reach"
            f" from {numbers.min():g} to {numbers.max():g}"
        )
    return numbers
