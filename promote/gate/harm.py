"""Guardrails and slices: harm beyond a limit blocks when proven, harm beyond 0 warns, all of them judged together (Holm 1979). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promote.contract import Reason
from promote.gate.plain_columns import text_of
from promote.gate.words import difference, metric_label, names, quoted, size
from retrain.comparison.intervals import MIN_EFFECTIVE_GROUPS, compare, p_value_of_harm
from retrain.comparison.metrics import NotComparable
from retrain.contract import Comparison
from retrain.spec.model_file import GatePolicy

MISSING = "(missing)"


@dataclass(frozen=True)
class JudgedRows:
    """The test rows as arrays of one length."""

    labels: NDArray[Any]
    champion: NDArray[Any]
    challenger: NDArray[Any]
    groups: NDArray[Any]
    slices: Mapping[str, NDArray[Any]]

    def compare(
        self, metric: str, *, confidence: float, where: str = "all rows", rows: Any = slice(None)
    ) -> Comparison:
        """Compare both models on some of the rows."""
        return compare(
            metric,
            self.labels[rows],
            self.champion[rows],
            self.challenger[rows],
            self.groups[rows],
            confidence=confidence,
            where=where,
        )


@dataclass(frozen=True)
class Harm:
    """What guardrails and slices found."""

    comparisons: tuple[Comparison, ...]
    reasons: tuple[Reason, ...]
    is_blocking: bool
    unjudged: tuple[Reason, ...]
    """Why a guardrail, or a column of slices, could not be judged at all: nothing is promoted then."""


@dataclass(frozen=True)
class _Watched:
    """One figure that must not get worse by more than `limit`, in the metric's own unit."""

    rule: str
    comparison: Comparison
    limit: float


def judge_harm(rows: JudgedRows, policy: GatePolicy, groups_are: str = "days") -> Harm:
    """Judge every guardrail and slice of the policy.

    Proven means at `change.better_with_confidence`, whatever the kind: a refresh's lower confidence is for giving newer rows their chance.
    """
    confidence = policy.change.better_with_confidence
    watched: list[_Watched] = []
    unknown: list[Reason] = []
    for metric, limit in policy.guardrails.items():
        try:
            watched.append(
                _Watched(f"guardrail {metric}", rows.compare(metric, confidence=confidence), limit)
            )
        except NotComparable as error:
            unknown.append(
                Reason(
                    rule=f"guardrail {metric}",
                    outcome="unknown",
                    sentence=f"{metric_label(metric)} could not be judged: {error}.",
                )
            )
    notes: list[Reason] = []
    for column in policy.slices.by:
        if column not in rows.slices:
            unknown.append(_no_column(column))
            continue
        found, note = _slices(rows, column, policy, groups_are)
        watched.extend(found)
        notes.extend(note)
    judged = _verdicts(watched, 1 - confidence)
    return Harm(
        comparisons=tuple(item.comparison for item in watched),
        reasons=(
            *sorted(judged, key=lambda reason: ("block", "warn", "pass").index(reason.outcome)),
            *unknown,
            *notes,
        ),
        is_blocking=any(reason.outcome == "block" for reason in judged),
        unjudged=tuple(unknown),
    )


def holm(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Return which hypotheses fall when the chance of any false one is at most `alpha` (Holm 1979).

    >>> holm([0.04, 0.01, 0.03], 0.05)
    [False, True, False]
    """
    fallen = [False] * len(p_values)
    for position, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] > alpha / (len(p_values) - position):
            break
        fallen[index] = True
    return fallen


def _verdicts(watched: Sequence[_Watched], alpha: float) -> list[Reason]:
    """Return a reason for each figure that got worse and each guardrail; slices that did not are only counted elsewhere."""
    blocks = holm([p_value_of_harm(item.comparison, beyond=item.limit) for item in watched], alpha)
    warns = holm([p_value_of_harm(item.comparison, beyond=0) for item in watched], alpha)
    return [
        _reason(item, is_blocked=blocked, is_warned=warned)
        for item, blocked, warned in zip(watched, blocks, warns, strict=True)
        if blocked or warned or item.comparison.where == "all rows"
    ]


def _reason(item: _Watched, *, is_blocked: bool, is_warned: bool) -> Reason:
    comparison = item.comparison
    place = "on all rows" if comparison.where == "all rows" else f"where {quoted(comparison.where)}"
    found = f"{difference(comparison)} {place} ({comparison.rows:,} rows)"
    limit = size(item.limit)
    if is_blocked:
        return Reason(
            rule=item.rule, outcome="block", sentence=f"{found}: harm beyond {limit} is proven."
        )
    if is_warned:
        return Reason(
            rule=item.rule,
            outcome="warn",
            sentence=f"{found}: harm is proven, harm beyond {limit} is not.",
        )
    return Reason(rule=item.rule, outcome="pass", sentence=f"{found}: no harm is proven.")


def _no_column(column: str) -> Reason:
    missing = f"the policy names slices of `{column}`, and the test rows have no column `{column}`"
    advice = "correct `gate.slices.by` of the model file, or return the column from its query"
    return Reason(rule=f"slice {column}", outcome="unknown", sentence=f"{missing}: {advice}.")


def _slices(
    rows: JudgedRows, column: str, policy: GatePolicy, groups_are: str
) -> tuple[list[_Watched], list[Reason]]:
    """Return the column's slices that are large enough, and how many there are."""
    rule, least = f"slice {column}", policy.slices.min_rows
    watched, unjudged = [], []
    for value, chosen in _values(rows.slices[column]):
        comparison = _slice_comparison(rows, policy, f"{column} = {value}", chosen)
        if comparison is None:
            unjudged.append(value)
        else:
            watched.append(_Watched(rule, comparison, policy.slices.max_worsening))
    notes = (
        [
            Reason(
                rule=rule,
                outcome="pass",
                sentence=f"{len(watched)} of {len(watched) + len(unjudged)} values were judged.",
            )
        ]
        if watched
        else []
    )
    if unjudged:
        why = f"fewer than {least} rows or {MIN_EFFECTIVE_GROUPS} effective {groups_are}"
        sentence = f"{len(unjudged)} of {len(watched) + len(unjudged)} values were not judged, {why}: {names(map(quoted, unjudged))}."
        notes.append(Reason(rule=rule, outcome="unknown", sentence=sentence))
    return watched, notes


def _slice_comparison(
    rows: JudgedRows, policy: GatePolicy, where: str, chosen: NDArray[np.intp]
) -> Comparison | None:
    """Return None when too few rows or groups, or one class where the metric needs two, prove nothing."""
    if len(chosen) < policy.slices.min_rows:
        return None
    try:
        comparison = rows.compare(
            policy.metric, confidence=policy.change.better_with_confidence, where=where, rows=chosen
        )
    except NotComparable:
        return None
    return comparison if comparison.effective_groups >= MIN_EFFECTIVE_GROUPS else None


def _values(column: NDArray[Any]) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Yield each value's text and its rows, in the order of the texts; None and NaN are one value."""
    missing = [value is None or value != value for value in column.tolist()]  # noqa: PLR0124 - NaN
    values = zip(column.tolist(), missing, strict=True)
    texts = [MISSING if is_missing else text_of(value) for value, is_missing in values]
    number_of = {text: code for code, text in enumerate(sorted(set(texts)))}
    codes = np.array([number_of[text] for text in texts], dtype=np.int64)
    starts = np.searchsorted(
        codes[order := np.argsort(codes, kind="stable")], np.arange(1, len(number_of))
    )
    yield from zip(number_of, np.split(order, starts), strict=True)
