"""Guardrails, fixed test and slices: figures that must not get worse by more than a limit. Pure.

Proven harm beyond the limit blocks. Proven harm within the limit warns. All figures are judged
together (Holm 1979, "A simple sequentially rejective multiple test procedure").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promote.contract import Reason
from promote.gate.evidence import FixedTestRows, JudgedRows
from promote.gate.plain_columns import text_of
from promote.gate.words import difference, metric_label, names, quoted, size
from retrain.comparison.intervals import MIN_EFFECTIVE_GROUPS, p_value_of_harm
from retrain.comparison.ranking import NotComparable
from retrain.contract import Comparison
from retrain.spec.model_file import GatePolicy

MISSING = "(missing)"
FIXED_TEST = "fixed test"
_PLACES = {"all rows": "on all rows", FIXED_TEST: "on the fixed test"}


@dataclass(frozen=True)
class Harm:
    """The result of all guardrails and slices."""

    comparisons: tuple[Comparison, ...]
    reasons: tuple[Reason, ...]
    unjudged: tuple[Reason, ...]
    """Why a guardrail or a column of slices could not be judged. Nothing is promoted then."""


@dataclass(frozen=True)
class _Limited:
    """A figure that must not get worse by more than `limit`, in the metric's own unit."""

    rule: str
    comparison: Comparison
    limit: float


def judge_harm(
    rows: JudgedRows, policy: GatePolicy, fixed_test: FixedTestRows | None = None
) -> Harm:
    """Judge every guardrail and slice of the policy, and the fixed test.

    Harm is proven at `change.better_with_confidence` for a refresh too: its lower confidence is
    there to give newer rows a chance, not to overlook harm.
    """
    confidence = policy.change.better_with_confidence
    limited: list[_Limited] = []
    unjudged: list[Reason] = []
    notes: list[Reason] = []
    for metric, limit in policy.guardrails.items():
        rule = f"guardrail {metric}"
        try:
            limited.append(_Limited(rule, rows.compare(metric, confidence=confidence), limit))
        except NotComparable as error:
            sentence = f"{metric_label(metric)} could not be judged: {error}."
            unjudged.append(Reason(rule=rule, outcome="unknown", sentence=sentence))
    if fixed_test is not None:
        found = _fixed_test(fixed_test, policy, confidence)
        if isinstance(found, _Limited):
            limited.append(found)
        else:
            (notes if fixed_test.known_to_champion else unjudged).append(found)
    for column in policy.slices.by:
        if column in rows.slices:
            figures, counts = _slices(rows, column, policy)
            limited.extend(figures)
            notes.extend(counts)
        else:
            unjudged.append(_no_column(column))
    judged = _judged(limited, 1 - confidence)
    judged.sort(key=lambda reason: ("block", "warn", "pass").index(reason.outcome))
    return Harm(
        comparisons=tuple(item.comparison for item in limited),
        reasons=(*judged, *unjudged, *notes),
        unjudged=tuple(unjudged),
    )


def holm(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Return which hypotheses are rejected; any wrong rejection has a chance of at most `alpha`.

    >>> holm([0.04, 0.01, 0.03], 0.05)
    [False, True, False]
    """
    rejected = [False] * len(p_values)
    for position, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] > alpha / (len(p_values) - position):
            break
        rejected[index] = True
    return rejected


def _judged(limited: Sequence[_Limited], alpha: float) -> list[Reason]:
    """Return a reason for each guardrail, and for each slice with proven harm."""
    blocks = holm([p_value_of_harm(item.comparison, beyond=item.limit) for item in limited], alpha)
    warns = holm([p_value_of_harm(item.comparison, beyond=0) for item in limited], alpha)
    return [
        _reason(item, is_blocked=blocked, is_warned=warned)
        for item, blocked, warned in zip(limited, blocks, warns, strict=True)
        if blocked or warned or item.comparison.where in _PLACES
    ]


def _reason(item: _Limited, *, is_blocked: bool, is_warned: bool) -> Reason:
    comparison = item.comparison
    place = _PLACES.get(comparison.where, f"where {quoted(comparison.where)}")
    figure = f"{difference(comparison)} {place} ({comparison.rows:,} rows)"
    limit = f"the limit of {size(item.limit)}"
    if is_blocked:
        sentence = f"{figure}. It is proven worse by more than {limit}."
        return Reason(rule=item.rule, outcome="block", sentence=sentence)
    if is_warned:
        sentence = f"{figure}. It is proven worse, but not by more than {limit}."
        return Reason(rule=item.rule, outcome="warn", sentence=sentence)
    return Reason(rule=item.rule, outcome="pass", sentence=f"{figure}. It is not proven worse.")


def _fixed_test(
    fixed_test: FixedTestRows, policy: GatePolicy, confidence: float
) -> _Limited | Reason:
    """Return the metric on the fixed test; its limit is the worsening that a refresh may have."""
    if known := fixed_test.known_to_champion:
        sentence = f"not judged, because the champion was trained on {known:,} of its rows."
        return Reason(rule=FIXED_TEST, outcome="unknown", sentence=sentence)
    try:
        comparison = fixed_test.rows.compare(policy.metric, confidence=confidence, where=FIXED_TEST)
    except NotComparable as error:
        sentence = f"the fixed test could not be judged: {error}."
        return Reason(rule=FIXED_TEST, outcome="unknown", sentence=sentence)
    limit = policy.refresh.worse_by_at_most * abs(comparison.champion)
    return _Limited(FIXED_TEST, comparison, limit)


def _no_column(column: str) -> Reason:
    missing = f"the policy asks for slices of `{column}`, and the test rows have no such column"
    advice = f"Correct `gate.slices.by` of the model file, or return `{column}` from its query"
    return Reason(rule=f"slice {column}", outcome="unknown", sentence=f"{missing}. {advice}.")


def _slices(
    rows: JudgedRows, column: str, policy: GatePolicy
) -> tuple[list[_Limited], list[Reason]]:
    """Return the slices of a column that are large enough, and how many slices there are."""
    rule = f"slice {column}"
    limited, skipped = [], []
    for value, chosen in _values(rows.slices[column]):
        comparison = _slice_comparison(rows, policy, f"{column} = {value}", chosen)
        if comparison is None:
            skipped.append(value)
        else:
            limited.append(_Limited(rule, comparison, policy.slices.max_worsening))
    notes, total = [], len(limited) + len(skipped)
    if limited:
        sentence = f"{len(limited)} of {total} values were judged."
        notes.append(Reason(rule=rule, outcome="pass", sentence=sentence))
    if skipped:
        least = f"{policy.slices.min_rows} rows or {MIN_EFFECTIVE_GROUPS} effective"
        why = f"fewer than {least} {rows.groups_are}, or only one label"
        listed = names(map(quoted, skipped))
        sentence = f"{len(skipped)} of {total} values were not judged ({why}): {listed}."
        notes.append(Reason(rule=rule, outcome="unknown", sentence=sentence))
    return limited, notes


def _slice_comparison(
    rows: JudgedRows, policy: GatePolicy, where: str, chosen: NDArray[np.intp]
) -> Comparison | None:
    """Return None when the rows can prove nothing: too few rows, groups or classes."""
    if len(chosen) < policy.slices.min_rows:
        return None
    confidence = policy.change.better_with_confidence
    try:
        comparison = rows.compare(policy.metric, confidence=confidence, where=where, rows=chosen)
    except NotComparable:
        return None
    return comparison if comparison.effective_groups >= MIN_EFFECTIVE_GROUPS else None


def _values(column: NDArray[Any]) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Yield each value's text and row numbers in the texts' order; None and NaN are equal."""
    texts = np.array([_text(value) for value in column.tolist()], dtype=object)
    values, codes = np.unique(texts, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(1, len(values)))
    yield from zip(values.tolist(), np.split(order, starts), strict=True)


def _text(value: Any) -> str:
    return MISSING if value is None or value != value else text_of(value)  # noqa: PLR0124 - NaN
