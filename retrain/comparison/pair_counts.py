"""ROC AUC with and without each group, exact after one sort. Pure.

The scores order a pair of a positive and a negative row rightly, or not. U(A, B) counts the pairs
of A's positives and B's negatives that are ordered rightly; ties count half. With P positives and Q
negatives, the AUC without group g is (U - U(g,·) - U(·,g) + U(g,g)) / ((P - P_g)(Q - Q_g)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrain.comparison.ranking import Codes, Counts, Flags, Floats, NotComparable


@dataclass(frozen=True)
class PairCounts:
    """Pairs ordered rightly, in all and with each group. Counts are exact multiples of 1/2."""

    right: float
    right_with_group: Floats
    """Pairs whose positive, negative or both are the group's."""
    positives: Counts
    """Of each group."""
    negatives: Counts

    @classmethod
    def of(cls, labels: Flags, scores: Floats, codes: Codes, groups: int) -> PairCounts:
        """Count the pairs.

        >>> labels, scores = np.array([True, False]), np.array([0.7, 0.2])
        >>> PairCounts.of(labels, scores, np.array([0, 0], np.uint16), 1).right
        1.0
        """
        order = np.argsort(scores)
        scores, labels, codes = scores[order], labels[order], codes[order]
        middles, below = _middles(labels, scores[1:] != scores[:-1])
        positives = np.bincount(codes[labels], minlength=groups)
        negatives = np.bincount(codes[~labels], minlength=groups)
        with_positive = np.bincount(codes[labels], weights=below[labels], minlength=groups)
        above = labels.sum() - (middles - below)[~labels]
        with_negative = np.bincount(codes[~labels], weights=above, minlength=groups)
        within = _within_groups(labels, scores, codes, negatives)
        return cls(
            float(with_positive.sum()), with_positive + with_negative - within, positives, negatives
        )

    def pairs(self) -> int:
        """Return how many pairs there are; 0 when one class has no rows."""
        return int(self.positives.sum() * self.negatives.sum())

    def pairs_without_each(self) -> Counts:
        """Return how many pairs are left without each group."""
        left: Counts = (self.positives.sum() - self.positives) * (
            self.negatives.sum() - self.negatives
        )
        return left

    def value(self) -> float:
        """Return the AUC, the share of pairs ordered rightly; NotComparable without a pair."""
        _require_both_classes(self.pairs(), ", and all labels are the same")
        return self.right / self.pairs()

    def without_each(self) -> Floats:
        """Return the AUC without each group; NotComparable when no pair is left."""
        left = self.pairs_without_each()
        _require_both_classes(
            left.min(), " without any one group, and one group holds all rows of a class"
        )
        areas: Floats = (self.right - self.right_with_group) / left
        return areas


def _require_both_classes(pairs: int, problem: str) -> None:
    if pairs == 0:
        raise NotComparable(
            f"ROC AUC needs rows of both classes{problem}: use more days, or another metric"
        )


def _middles(labels: Flags, changes: Flags) -> tuple[Floats, Floats]:
    """Return, for each row, the rows before its run of ties plus half of the rows in the run.

    The first array counts all rows, the second the negatives.

    Args:
        labels: In the order of the scores.
        changes: Whether a run of ties begins at a row, from the second row on.
    """
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1, [len(labels)]])
    lengths = np.diff(starts)
    negatives = np.concatenate([[0], np.cumsum(~labels)])[starts]
    return np.repeat((starts[:-1] + starts[1:]) / 2, lengths), np.repeat(
        (negatives[:-1] + negatives[1:]) / 2, lengths
    )


def _within_groups(labels: Flags, scores: Floats, codes: Codes, negatives: Counts) -> Floats:
    """Return each group's pairs with itself. One pass over the rows, by group, then by score."""
    order = np.argsort(codes, kind="stable")
    labels, scores, codes = labels[order], scores[order], codes[order]
    _, below = _middles(labels, (scores[1:] != scores[:-1]) | (codes[1:] != codes[:-1]))
    of_earlier_groups = (np.cumsum(negatives) - negatives)[codes[labels]]
    right = below[labels] - of_earlier_groups
    pairs: Floats = np.bincount(codes[labels], weights=right, minlength=len(negatives)).astype(
        np.float64
    )
    return pairs
