"""What the interval on all rows says under each rule, and what would settle an open case. Pure.

`refresh` (same recipe, newer rows) must not be worse than a margin. `change` and `first` must be
proven better.
"""

from __future__ import annotations

import math
from typing import Literal

from promote.contract import Kind, Outcome, Reason
from promote.gate.evidence import Subject
from promote.gate.words import difference, metric_label, percent, size
from retrain.comparison.intervals import standard_error, t_quantile
from retrain.contract import Comparison
from retrain.spec.model_file import GatePolicy

POWER = 0.8
"""Rows "can show" a difference that they would prove this often (a share)."""
LONGEST_TEST_GROUPS = 365
"""In days. Nobody can act on the advice to test for more than a year."""

_MARKS: dict[Outcome, Literal["pass", "block", "unknown"]] = {
    "promote": "pass",
    "keep": "block",
    "inconclusive": "unknown",
}


def confidence_of(kind: Kind, policy: GatePolicy) -> float:
    """Return the rule's one-sided confidence; a first model is judged as a change."""
    return policy.refresh.confidence if kind == "refresh" else policy.change.better_with_confidence


def decide(
    subject: Subject, comparison: Comparison, policy: GatePolicy, groups_are: str = "days"
) -> tuple[Outcome, Reason]:
    """Return what the rule of the challenger's kind says, guardrails and slices aside."""
    is_refresh = subject.kind == "refresh"
    share = policy.refresh.worse_by_at_most if is_refresh else policy.worthwhile
    margin = share * abs(comparison.champion)
    limit = f"{size(margin)} ({percent(share)})"
    outcome, because = (_refresh if is_refresh else _change)(subject, comparison, margin, limit)
    if outcome == "inconclusive":
        because = f"{because} {what_would_settle_it(comparison, margin, groups_are)}"
    result = difference(comparison)
    where = f"on {comparison.rows:,} rows of {comparison.groups} {groups_are}"
    sentence = f"{result[:1].upper()}{result[1:]} {where}. {because}"
    return outcome, Reason(rule=subject.kind, outcome=_MARKS[outcome], sentence=sentence)


def _refresh(
    subject: Subject, comparison: Comparison, margin: float, limit: str
) -> tuple[Outcome, str]:
    """Return what the rule says; `margin` is in the metric's unit, and `limit` is its text."""
    interval, challenger = comparison.improvement, f"v{subject.challenger}"
    level = f"At {percent(interval.confidence)} confidence {challenger}"
    if interval.upper < 0:
        return "keep", f"{level} is worse than {subject.champion_name}."
    bound = f"{level} is at most {size(abs(interval.lower))} worse. The policy allows {limit}."
    if interval.lower <= -margin:
        return "inconclusive", f"{bound} {challenger} is not proven worse either."
    if interval.lower < 0:
        return "promote", bound
    return "promote", f"{level} is not worse than {subject.champion_name}."


def _change(
    subject: Subject, comparison: Comparison, margin: float, limit: str
) -> tuple[Outcome, str]:
    """Return what the rule says; a gain that is proven to be below `worthwhile` is not shipped.

    The upper bound decides, not the estimate. So every `keep` is proven at the rule's confidence.
    """
    interval, challenger = comparison.improvement, f"v{subject.challenger}"
    champion = subject.champion_name
    level = f"At {percent(interval.confidence)} confidence {challenger}"
    least = f"less than {limit}, the smallest gain that the policy ships"
    if interval.upper < 0:
        return "keep", f"{level} is worse than {champion}."
    if interval.upper < margin and interval.lower > 0:
        return "keep", f"{level} is better than {champion}, but by {least}."
    if interval.upper < margin:
        return "keep", f"{level} improves by {least}."
    if interval.lower > 0:
        return "promote", f"{level} is better than {champion}."
    unproven = f"{challenger} is not proven better than {champion}"
    return "inconclusive", f"{unproven}. An improvement of {limit} is not ruled out either."


def smallest_difference(comparison: Comparison, *, groups: int | None = None) -> float:
    """Return the difference that rows would prove with `POWER`.

    Args:
        comparison: Of the rows at hand.
        groups: How many groups like these to plan with; by default as many as there are.
    """
    effective = comparison.effective_groups
    planned = effective if groups is None else effective * groups / comparison.groups
    quantiles = t_quantile(comparison.improvement.confidence, planned) + t_quantile(POWER, planned)
    return quantiles * standard_error(comparison) * math.sqrt(effective / planned)


def more_groups_needed(comparison: Comparison, wanted: float) -> int | None:
    """Return how many more groups would show a difference of `wanted`; None beyond a year."""
    if smallest_difference(comparison) <= wanted:
        return 0
    more = (
        groups - comparison.groups
        for groups in range(comparison.groups + 1, LONGEST_TEST_GROUPS + 1)
        if smallest_difference(comparison, groups=groups) <= wanted
    )
    return next(more, None)


def what_would_settle_it(comparison: Comparison, wanted: float, groups_are: str) -> str:
    """Return which difference these rows can show, and how many groups would show `wanted`."""
    more = more_groups_needed(comparison, wanted)
    smallest, aim = size(smallest_difference(comparison)), size(wanted)
    rows = f"These {comparison.groups} {groups_are}"
    label = metric_label(comparison.metric)
    can = f"{rows} can show a difference of {smallest} in {label} ({percent(POWER)} of the time)."
    if more == 0:
        return f"{can} The true difference is close to the limit, or chance decided here."
    if more is None:
        return f"{can} Even {LONGEST_TEST_GROUPS} {groups_are} would not show {aim}."
    return f"{can} About {more} more {groups_are} like these would show {aim}."
