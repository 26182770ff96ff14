"""Metrics of the order of rows: what `intervals.py` asks of each. Pure."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Codes = NDArray[np.uint16]
"""Each row's group, as a number from 0."""
Counts = NDArray[np.int64]


class NotComparable(ValueError):
    """The rows do not allow the comparison. The message says what to do."""


class Ranking(Protocol):
    """Labels in the order of a model's scores."""

    def value(self) -> float:
        """Return the metric of all rows; NotComparable when the labels do not allow it."""

    def without_each(self) -> Floats:
        """Return the metric without each group; NotComparable as above."""
