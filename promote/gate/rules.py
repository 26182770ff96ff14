"""Refresh, change and first: what the interval on all rows says, and what would settle it when it says nothing. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from promote.contract import Kind, Outcome, Reason
from promote.gate.words import difference, metric_label, percent, size
from retrain.comparison.intervals import standard_error, t_quantile
from retrain.contract import Comparison
from retrain.spec.model_file import GatePolicy

POWER = 0.8
"""A difference counts as one that so many days can show when it would be proven this often."""
LONGEST_TEST_GROUPS = 365
"""A test window longer than a year of days is no advice."""


@dataclass(frozen=True)
class Decision:
    """What the rule on the gate's metric says by itself, guardrails and slices aside."""

    outcome: Outcome
    reason: Reason


def confidence_of(kind: Kind, policy: GatePolicy) -> float:
    """Return the one-sided confidence of the rule for this kind; a first model is judged as a change."""
    return policy.refresh.confidence if kind == "refresh" else policy.change.better_with_confidence


def decide(
    kind: Kind, comparison: Comparison, policy: GatePolicy, groups_are: str = "days"
) -> Decision:
    """Return what the first rule that matches says (DESIGN.md section 6); shares are of the champion's value."""
    share = policy.refresh.worse_by_at_most if kind == "refresh" else policy.worthwhile
    margin = share * abs(comparison.champion)
    outcome, because = (
        _refresh(comparison, margin, share)
        if kind == "refresh"
        else _change(kind, comparison, margin, share)
    )
    if outcome == "inconclusive":
        because = f"{because} {what_would_settle_it(comparison, margin, groups_are)}"
    found = (
        f"{difference(comparison)} on {comparison.rows:,} rows of {comparison.groups} {groups_are}"
    )
    mark = {"promote": "pass", "keep": "block", "inconclusive": "unknown"}[outcome]
    return Decision(
        outcome,
        Reason.model_validate(
            {"rule": kind, "outcome": mark, "sentence": f"{_capital(found)}: {because}"}
        ),
    )


def _refresh(comparison: Comparison, margin: float, share: float) -> tuple[Outcome, str]:
    interval = comparison.improvement
    limit = f"{percent(share)} ({size(margin)})"
    if interval.upper < 0:
        return "keep", f"newer rows made it worse, proven at {percent(interval.confidence)}."
    if interval.lower > -margin:
        return (
            "promote",
            f"newer rows, and worse by less than {limit} at {percent(interval.confidence)}.",
        )
    return (
        "inconclusive",
        f"it may be worse by {limit} or more, and that it is worse is not proven.",
    )


def _change(kind: Kind, comparison: Comparison, margin: float, share: float) -> tuple[Outcome, str]:
    """Return what the rule says; a gain proven to be below `worthwhile` is not shipped.

    The upper bound decides, not the estimate: only then is every `keep` proven at the confidence of the rule.
    """
    interval = comparison.improvement
    worthwhile = f"{percent(share)} ({size(margin)})"
    than = " than the training rate as a constant" if kind == "first" else ""
    proven = f"proven at {percent(interval.confidence)}"
    if interval.upper < 0:
        return "keep", f"worse{than}, {proven}."
    if interval.upper < margin and interval.lower > 0:
        return (
            "keep",
            f"better{than}, but by less than {worthwhile}, the least that is worthwhile, {proven}.",
        )
    if interval.upper < margin:
        return (
            "keep",
            f"a gain of {worthwhile}, the least that is worthwhile, is ruled out at {percent(interval.confidence)}.",
        )
    if interval.lower > 0:
        return "promote", f"better{than}, {proven}."
    return "inconclusive", f"neither a gain is proven nor is one of {worthwhile} ruled out."


def smallest_difference(comparison: Comparison, *, groups: int | None = None) -> float:
    """Return the difference that so many groups like these would prove with `POWER`; by default as many as there are."""
    effective = comparison.effective_groups
    planned = effective if groups is None else effective * groups / comparison.groups
    quantiles = t_quantile(comparison.improvement.confidence, planned) + t_quantile(POWER, planned)
    return quantiles * standard_error(comparison) * math.sqrt(effective / planned)


def more_groups_needed(comparison: Comparison, wanted: float) -> int | None:
    """Return how many more groups like these would show a difference of `wanted`: 0 when these can; None when not even a year's would."""
    if smallest_difference(comparison) <= wanted:
        return 0
    enough = (
        groups
        for groups in range(comparison.groups + 1, LONGEST_TEST_GROUPS + 1)
        if smallest_difference(comparison, groups=groups) <= wanted
    )
    found = next(enough, None)
    return None if found is None else found - comparison.groups


def what_would_settle_it(comparison: Comparison, wanted: float, groups_are: str) -> str:
    """Return how small a difference these rows could show, and how many more groups would show one of `wanted`."""
    more = more_groups_needed(comparison, wanted)
    smallest, aim = size(smallest_difference(comparison)), size(wanted)
    could = f"These {comparison.groups} {groups_are} could show a difference in {metric_label(comparison.metric)} of {smallest} ({percent(POWER)} of the time)"
    if more == 0:
        return f"{could}, so one of {aim} too: the truth lies close to a limit, or these {groups_are} were unlucky."
    if more is None:
        return f"{could}; no test window of up to {LONGEST_TEST_GROUPS} {groups_are} would show one of {aim}."
    return f"{could}; one of {aim} needs about {more} more {groups_are}, if they vary as these do."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
