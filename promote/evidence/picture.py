"""The verdict's intervals as a picture for reviewers."""

from __future__ import annotations

import math
from io import BytesIO
from typing import Any

from matplotlib.figure import Figure

from promote.contract import Verdict
from promote.gate.words import OUTCOME_WORDS, metric_label
from retrain.contract import Comparison

MOST_LINES = 30
_COLOURS = {(True, False): "tab:green", (False, True): "tab:red", (False, False): "tab:gray"}
"""By whether the interval is above 0, and whether it is below 0."""


def interval_plot(verdict: Verdict) -> bytes:
    """Return a PNG with one panel for each metric, and slices that got worse first.

    A line shows a comparison's improvement with its interval.
    """
    panels = _panels(verdict)
    lines = sum(len(comparisons) for comparisons in panels.values())
    figure = Figure(figsize=(9, 1.6 + 0.32 * lines + 0.7 * len(panels)), layout="constrained")
    figure.suptitle(
        f"{verdict.model} v{verdict.challenger}, {verdict.kind}: {OUTCOME_WORDS[verdict.outcome]}"
    )
    heights = [len(comparisons) + 1 for comparisons in panels.values()]
    axes = figure.subplots(max(1, len(panels)), 1, squeeze=False, height_ratios=heights or None)[
        :, 0
    ]
    if not panels:
        axes[0].text(0.5, 0.5, "no figure could be computed", ha="center", va="center")
        axes[0].set_axis_off()
    for axis, (metric, comparisons) in zip(axes, panels.items(), strict=False):
        _draw(axis, metric, comparisons)
    content = BytesIO()
    figure.savefig(content, format="png", dpi=110, metadata={"Software": None})
    return content.getvalue()


def _panels(verdict: Verdict) -> dict[str, list[Comparison]]:
    panels: dict[str, list[Comparison]] = {}
    worst_first = sorted(
        verdict.comparisons,
        key=lambda comparison: (
            -math.inf if comparison.where == "all rows" else comparison.improvement.estimate
        ),
    )
    for comparison in worst_first[:MOST_LINES]:
        panels.setdefault(comparison.metric, []).append(comparison)
    return panels


def _draw(axis: Any, metric: str, comparisons: list[Comparison]) -> None:
    """Draw the comparisons from the top; right of the dashed line the challenger is better."""
    for height, comparison in enumerate(reversed(comparisons)):
        interval = comparison.improvement
        colour = _COLOURS[interval.lower > 0, interval.upper < 0]
        axis.plot([interval.lower, interval.upper], [height, height], color=colour, linewidth=2)
        axis.plot(interval.estimate, height, "o", color=colour)
    axis.axvline(0, color="black", linestyle="--", linewidth=0.8)
    axis.set_yticks(
        range(len(comparisons)),
        [plain_label(f"{item.where} ({item.rows:,} rows)") for item in reversed(comparisons)],
    )
    axis.set_ylim(-0.7, len(comparisons) - 0.3)
    axis.set_xlabel(f"improvement in {metric_label(metric)} (above 0: the challenger is better)")


def plain_label(text: str) -> str:
    r"""Return a value from the data without formulas or letters that matplotlib's font lacks.

    The text is cut after 60 characters.

    >>> plain_label("origin = $x$")
    'origin = \\$x\\$'
    """
    drawable = "".join(
        letter if letter.isprintable() and ord(letter) < 0x250 else "?" for letter in text[:60]
    )
    return drawable.replace("$", r"\$")
