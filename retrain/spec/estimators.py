"""Which estimators a technique may name, and the parameters that are a person's choice. Pure.

`exact_estimators.py` lists what exports from scikit-learn to ONNX exactly, as measured. `retrain
check` refuses anything else, so that no weekly run finds it out. Ratchet chooses seeds, early
stopping and processes: a person's choice would make runs unequal.
"""

from __future__ import annotations

from retrain.spec.exact_estimators import EXACT
from retrain.tasks.task import EstimatorKind

ESTIMATORS: dict[str, EstimatorKind] = {
    path: kind for kind, estimators in EXACT.items() for path in estimators
}


def parameters_of(estimator: str) -> frozenset[str]:
    """Return the parameters that a person may choose; the estimator is one of `ESTIMATORS`.

    >>> "alpha" in parameters_of("sklearn.linear_model.Ridge")
    True
    """
    return frozenset(EXACT[ESTIMATORS[estimator]][estimator].split())


CHOSEN_BY_RATCHET = frozenset(
    {
        "random_state",
        "early_stopping",
        "validation_fraction",
        "n_iter_no_change",
        "n_jobs",
        "verbose",
        "warm_start",
        "categorical_features",
    }
)
"""`categorical_features` exports silently wrong: off by up to 0.6 on nearly all rows."""
