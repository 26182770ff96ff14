"""A verdict in words: a sentence, its reasons as a list, its figures as a table. Pure.

The gate, the command line and the pull request use these words.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from promote.contract import Reason, Verdict
from retrain.comparison.metrics import metric_named
from retrain.comparison.ranking import NotComparable
from retrain.contract import Comparison

OUTCOME_WORDS = {"promote": "promote", "keep": "keep the champion", "inconclusive": "inconclusive"}
MARKS = {"pass": "✓", "block": "✗", "warn": "!", "unknown": "?"}


def metric_label(name: str) -> str:
    """Return a metric's name as a sentence says it.

    >>> metric_label("roc_auc")
    'ROC AUC'
    """
    try:
        return metric_named(name).label
    except NotComparable:  # a metric of an old verdict
        return name


def difference(comparison: Comparison) -> str:
    """Return the change and its interval: `log loss improves by 0.013 [0.006, 0.019]`.

    A worsening has the opposite signs, so that its interval holds its number:
    `worsens by 0.013 [0.006, 0.019]`.
    """
    interval, label = comparison.improvement, metric_label(comparison.metric)
    if interval.lower == interval.upper == 0:
        return f"{label} is the same"
    verb, sign = ("improves", 1) if interval.estimate >= 0 else ("worsens", -1)
    ends = sorted((sign * interval.lower, sign * interval.upper))
    digits = decimals(comparison)
    estimate, lower, upper = (number(end, digits) for end in (sign * interval.estimate, *ends))
    return f"{label} {verb} by {estimate} [{lower}, {upper}]"


def decimals(comparison: Comparison) -> int:
    """Return how many decimals to write, 3 to 6: more for a narrower interval."""
    half = (comparison.improvement.upper - comparison.improvement.lower) / 2
    return min(6, max(3, -math.floor(math.log10(half)))) if half > 0 else 4


def number(value: float, digits: int) -> str:
    """Return a number with this many decimals, never `-0.000`.

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
    """Return the first names, and how many more there are.

    >>> names(["a", "b", "c"], at_most=2)
    'a, b and 1 more'
    """
    listed = list(values)
    more = len(listed) - at_most
    return ", ".join(listed[:at_most]) + (f" and {more} more" if more > 0 else "")


def sentence(verdict: Verdict) -> str:
    """Return the outcome and the reason that decided, on one line."""
    against = "the constant" if verdict.champion is None else f"v{verdict.champion}"
    subject = f"{verdict.model} v{verdict.challenger} against {against} ({verdict.kind})"
    why = verdict.reasons[0].sentence if verdict.reasons else "The verdict has no reasons."
    return f"{subject}: {OUTCOME_WORDS[verdict.outcome]}. {why[:1].upper()}{why[1:]}"


def table(verdict: Verdict) -> str:
    """Return the figures as a Markdown table; empty without figures.

    The gate's metric and the guardrails come first, then the slices, the worst first.
    """
    if not verdict.comparisons:
        return ""
    whole = [comparison for comparison in verdict.comparisons if comparison.where == "all rows"]
    slices = [comparison for comparison in verdict.comparisons if comparison.where != "all rows"]
    slices.sort(key=lambda comparison: comparison.improvement.estimate)
    champion = "constant" if verdict.champion is None else f"v{verdict.champion}"
    models = f"{champion} | v{verdict.challenger}"
    head = f"| rows | metric | {models} | improvement | interval | confidence | n | groups |"
    rows = (_table_row(comparison) for comparison in [*whole, *slices])
    return "\n".join([head, "|---" * 9 + "|", *rows])


def _table_row(comparison: Comparison) -> str:
    interval, digits, where = comparison.improvement, decimals(comparison), comparison.where
    cells = (
        where if where == "all rows" else quoted(where).replace("|", "\\|"),
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
    """Return a value from the data as a code span of one line and at most 60 characters.

    In a code span a value can neither mention a person nor become a link.

    >>> quoted("@everyone")
    '`@everyone`'
    """
    plain = " ".join(text.split()).replace("`", "'")
    return f"`{plain[:59]}…`" if len(plain) > 60 else f"`{plain}`"


def bullets(reasons: Iterable[Reason]) -> str:
    """Return reasons as a Markdown list, in their order."""
    return "\n".join(
        f"- {MARKS[reason.outcome]} {_rule(reason)}: {reason.sentence}" for reason in reasons
    )


def _rule(reason: Reason) -> str:
    return f"**{reason.rule}**" if reason.outcome in {"block", "warn"} else reason.rule


def explanation(verdict: Verdict) -> str:
    """Return the sentence, the other reasons, and the figures with how to read them."""
    how = (
        "An improvement above 0 means that the challenger is better, for every metric. Each end of "
        "an interval holds with the confidence beside it. The intervals leave out one group (day) "
        "at a time. Guardrails and slices are judged together (Holm)."
    )
    parts = [sentence(verdict), bullets(verdict.reasons[1:])]
    if verdict.comparisons:
        parts += [how, table(verdict)]
    return "\n\n".join(part for part in parts if part) + "\n"
