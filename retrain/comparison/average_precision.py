"""Average precision with and without each group, exact after one sort. Pure.

Average precision is the mean, over the positive rows, of the precision among all rows that score at
least as high (scikit-learn's `average_precision_score`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrain.comparison.ranking import Codes, Flags, Floats, NotComparable


@dataclass(frozen=True, eq=False)
class RankedRows:
    """Rows from the highest score down."""

    labels: Flags
    codes: Codes
    last_of_tie: Flags
    """True at the last row of each run of equal scores."""
    groups: int

    @classmethod
    def of(cls, labels: Flags, scores: Floats, codes: Codes, groups: int) -> RankedRows:
        """Sort the rows.

        >>> labels, scores = np.array([True, False]), np.array([0.2, 0.7])
        >>> RankedRows.of(labels, scores, np.array([0, 0], np.uint16), 1).value()
        0.5
        """
        order = np.argsort(-scores, kind="stable")
        scores = scores[order]
        last = np.append(scores[1:] != scores[:-1], True)
        return cls(labels[order], codes[order], last, groups)

    def value(self) -> float:
        """Return the average precision of all rows; NotComparable without a positive row."""
        found = self._among(np.ones(len(self.labels), bool))
        if found is None:
            raise NotComparable(
                "average precision needs a row whose label is true, and all are false:"
                " use more days, or another metric"
            )
        return found

    def without_each(self) -> Floats:
        """Return the average precision without each group; one pass over the rows a group."""
        found = [self._among(self.codes != code) for code in range(self.groups)]
        if None in found:
            raise NotComparable(
                "average precision needs rows whose label is true without any one group,"
                " and one group holds all of them: use more days, or another metric"
            )
        return np.array(found, np.float64)

    def _among(self, chosen: Flags) -> float | None:
        """Return the average precision of the chosen rows; None without a positive row."""
        positives = np.cumsum(self.labels & chosen)[self.last_of_tie]
        rows = np.cumsum(chosen)[self.last_of_tie]
        if not positives[-1]:
            return None
        gained = np.diff(positives, prepend=0)
        return float(np.sum(gained * positives / np.maximum(rows, 1)) / positives[-1])
