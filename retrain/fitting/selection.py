"""Which technique ships: the champion's, unless the gain of another one is proven. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from numpy.typing import ArrayLike

from retrain.comparison.intervals import compare
from retrain.comparison.metrics import metric_named, metric_value
from retrain.comparison.ranking import NotComparable


@dataclass(frozen=True)
class Selection:
    """The techniques that may ship, the one to ship first, and why it is."""

    order: tuple[str, ...]
    """The first ships. The others stand by: each ships only when no technique before it can."""
    sentence: str


def select_technique(
    metric: str,
    labels: ArrayLike,
    scores: Mapping[str, ArrayLike],
    groups: ArrayLike,
    *,
    champion: str | None,
    confidence: float,
) -> Selection:
    """Return the order in which techniques may ship.

    Args:
        metric: A name that `metric_named` takes.
        labels: Of the validation rows.
        scores: Of the validation rows, by technique; at least one.
        groups: Of the validation rows.
        champion: The technique that production runs, which may be no candidate any more; None
            when nothing runs.
        confidence: One-sided; a gain is proven when its interval's lower bound is above 0.

    >>> scores = {"a": [0.6, 0.4], "b": [0.9, 0.1]}
    >>> select_technique("brier", [1, 0], scores, [1, 2], champion=None, confidence=0.95).order
    ('b', 'a')
    """
    chosen = metric_named(metric)
    label = chosen.label
    values = {name: metric_value(metric, labels, given) for name, given in scores.items()}
    ranked = sorted(values, key=lambda name: (-chosen.sign * values[name], name))
    if champion is None or champion not in scores:
        return Selection(
            tuple(ranked),
            f"{ranked[0]} has the best {label} on the validation rows: {_listed(ranked, values)}",
        )
    for name in ranked[: ranked.index(champion)]:
        try:
            gain = compare(
                metric, labels, scores[champion], scores[name], groups, confidence=confidence
            ).improvement
        except NotComparable as error:  # such as validation rows of a single group
            return Selection(
                _first(champion, ranked),
                f"{champion} stays, as in production: no gain can be proven, {error}",
            )
        if gain.lower > 0:
            return Selection(
                _first(name, ranked),
                f"{name} takes over from {champion}: {label} improves by {gain.estimate:.4f}"
                f" [{gain.lower:.4f}, {gain.upper:.4f}]",
            )
    return Selection(
        _first(champion, ranked),
        f"{champion} stays, as in production: no other technique's gain is proven"
        f" ({_listed(ranked, values)})",
    )


def _first(name: str, ranked: list[str]) -> tuple[str, ...]:
    return (name, *(other for other in ranked if other != name))


def _listed(ranked: list[str], values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {values[name]:.4f}" for name in ranked)
