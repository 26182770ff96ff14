"""The gate's words: a verdict in one sentence, its figures as a table, its reasons as a list. Pure; used by the gate, the command line and the pull request."""

from __future__ import annotations

import math
from collections.abc import Iterable

from promote.contract import Reason, Verdict
from retrain.comparison.metrics import METRICS
from retrain.contract import Comparison

OUTCOME_WORDS = {"promote": "promote", "keep": "keep the champion", "inconclusive": "inconclusive"}
MARKS = {"pass": "✓", "block": "✗", "warn": "!", "unknown": "?"}


def metric_label(name: str) -> str:
    """Return a metric's name as a sentence says it.

    >>> metric_label("roc_auc")
    'ROC AUC'
    """
    return METRICS[name].label if name in METRICS else name


def difference(comparison: Comparison) -> str:
    """Return what changed and by how much: `log loss improves by 0.013 [0.006, 0.019]`.

    A worsening is told the other way round, `worsens by 0.013 [0.006, 0.019]`, so that the interval holds the number.
    """
    interval, label = comparison.improvement, metric_label(comparison.metric)
    digits = decimals(comparison)
    if interval.lower == interval.upper == 0:
        return f"{label} is the same"
    if interval.estimate >= 0:
        verb, estimate, lower, upper = "improves", interval.estimate, interval.lower, interval.upper
    else:
        verb, estimate, lower, upper = (
            "worsens",
            -interval.estimate,
            -interval.upper,
            -interval.lower,
        )
    return f"{label} {verb} by {number(estimate, digits)} [{number(lower, digits)}, {number(upper, digits)}]"


def decimals(comparison: Comparison) -> int:
    """Return how many decimals the interval's width deserves: 3 to 6."""
    half = (comparison.improvement.upper - comparison.improvement.lower) / 2
    return min(6, max(3, -math.floor(math.log10(half)))) if half > 0 else 4


def number(value: float, digits: int) -> str:
    """Return a number with so many decimals, never `-0.000`.

    >>> number(-0.0001, 3)
    '0.000'
    """
    return f"{round(value, digits) + 0.0:.{digits}f}"


def size(value: float) -> str:
    """Return a limit or a margin as people write it.

    >>> size(0.004372)
    '0.00437'
    """
    return f"{value:.3g}"


def percent(share: float) -> str:
    """Return a share as people write it.

    >>> percent(0.01)
    '1 %'
    """
    return f"{share * 100:.3g} %"


def names(values: Iterable[str], *, at_most: int = 6) -> str:
    """Return the first names and how many more there are.

    >>> names(["a", "b", "c"], at_most=2)
    'a, b and 1 more'
    """
    listed = list(values)
    more = len(listed) - at_most
    return ", ".join(listed[:at_most]) + (f" and {more} more" if more > 0 else "")


def sentence(verdict: Verdict) -> str:
    """Return the verdict in one sentence."""
    against = "the training rate" if verdict.champion is None else f"v{verdict.champion}"
    why = verdict.reasons[0].sentence if verdict.reasons else "no reason was given."
    return f"{verdict.model} v{verdict.challenger} against {against} ({verdict.kind}): {OUTCOME_WORDS[verdict.outcome]}. {why}"


def table(verdict: Verdict) -> str:
    """Return the figures as a Markdown table: the gate's metric, guardrails, then the slices that got worse first; empty without figures."""
    if not verdict.comparisons:
        return ""
    whole = [comparison for comparison in verdict.comparisons if comparison.where == "all rows"]
    slices = [comparison for comparison in verdict.comparisons if comparison.where != "all rows"]
    slices.sort(key=lambda comparison: comparison.improvement.estimate)
    champion = "training rate" if verdict.champion is None else f"v{verdict.champion}"
    head = f"| rows | metric | {champion} | v{verdict.challenger} | improvement | interval | confidence | n | groups |\n|---|---|---|---|---|---|---|---|---|"
    return "\n".join([head, *(_table_row(comparison) for comparison in [*whole, *slices])])


def _table_row(comparison: Comparison) -> str:
    interval, digits = comparison.improvement, decimals(comparison)
    cells = (
        comparison.where
        if comparison.where == "all rows"
        else quoted(comparison.where).replace("|", "\\|"),
        metric_label(comparison.metric),
        number(comparison.champion, max(4, digits)),
        number(comparison.challenger, max(4, digits)),
        f"{round(interval.estimate, digits) + 0.0:+.{digits}f}",
        f"[{number(interval.lower, digits)}, {number(interval.upper, digits)}]",
        percent(interval.confidence),
        f"{comparison.rows:,}",
        str(comparison.groups),
    )
    return f"| {' | '.join(cells)} |"


def quoted(text: str) -> str:
    """Return a value from the data as a code span, so that it cannot mention anyone or end a line; cut after 60 characters.

    >>> quoted("@everyone")
    '`@everyone`'
    """
    plain = " ".join(text.split()).replace("`", "'")
    return f"`{plain[:59]}…`" if len(plain) > 60 else f"`{plain}`"


def reasons(verdict: Verdict) -> str:
    """Return every reason as a Markdown list, in the verdict's order."""
    return "\n".join(
        f"- {MARKS[reason.outcome]} {_rule(reason)}: {reason.sentence}"
        for reason in verdict.reasons
    )


def _rule(reason: Reason) -> str:
    return f"**{reason.rule}**" if reason.outcome in {"block", "warn"} else reason.rule


def explanation(verdict: Verdict) -> str:
    """Return all of it: sentence, table, reasons, and how to read them."""
    how = (
        "An improvement above 0 means that the challenger is better, whatever the metric's direction. "
        "Each bound holds with the confidence given, leaving out one group (day) at a time; slices and guardrails are judged together (Holm)."
    )
    return (
        "\n\n".join(
            part
            for part in (
                sentence(verdict),
                table(verdict),
                reasons(verdict),
                how if verdict.comparisons else "",
            )
            if part
        )
        + "\n"
    )
