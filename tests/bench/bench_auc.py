"""The interval of ROC AUC on 1,000,000 rows in 14 groups.

Ours is the jackknife from pair counts. The other side is a leave-one-out loop over scikit-learn.
Both start from the same arrays. Both end with the improvement of one model over another and its
standard error, and must agree.
"""

from __future__ import annotations

import math
import time

import numpy as np
from sklearn.metrics import roc_auc_score

from retrain.comparison.intervals import compare, standard_error

ROWS, GROUPS = 1_000_000, 14
ROUNDS = 3
GOAL = 10


def measure() -> list[dict[str, object]]:
    """Time both sides on the same rows, ours in several rounds between which theirs runs once."""
    random = np.random.default_rng(0)
    groups, labels = random.integers(0, GROUPS, ROWS), random.random(ROWS) < 0.25
    champion, challenger = (
        np.float32(random.beta(2, 5, ROWS) * 0.7 + gain * labels).astype(np.float64)
        for gain in (0.10, 0.12)
    )
    ours = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        found = compare("roc_auc", labels, champion, challenger, groups, confidence=0.95)
        ours.append(time.perf_counter() - started)
    started = time.perf_counter()
    estimate, error = _loop(labels, champion, challenger, groups)
    theirs = time.perf_counter() - started
    if not (
        math.isclose(found.improvement.estimate, estimate, abs_tol=1e-12)
        and math.isclose(standard_error(found), error, abs_tol=1e-12)
    ):
        jackknife = f"{found.improvement.estimate} ± {standard_error(found)}"
        message = f"the two sides differ: {jackknife} and {estimate} ± {error}"
        raise ValueError(message)
    median = sorted(ours)[ROUNDS // 2]
    figure = {"name": "roc_auc_jackknife", "ratio": round(theirs / median, 1), "goal": GOAL}
    return [
        {**figure, "ours_seconds": round(median, 2), "scikit_learn_loop_seconds": round(theirs, 1)}
    ]


def _loop(
    labels: np.ndarray, champion: np.ndarray, challenger: np.ndarray, groups: np.ndarray
) -> tuple[float, float]:
    def improvement(rows: np.ndarray) -> float:
        return float(
            roc_auc_score(labels[rows], challenger[rows])
            - roc_auc_score(labels[rows], champion[rows])
        )

    whole = improvement(np.ones(ROWS, dtype=bool))
    squares = [(improvement(groups != group) - whole) ** 2 for group in range(GROUPS)]
    return whole, math.sqrt((GROUPS - 1) / GROUPS * sum(squares))


if __name__ == "__main__":
    print(measure())
