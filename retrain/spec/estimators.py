"""The estimators a technique may name, and the parameters that are a person's choice. Pure.

The list holds what exports from scikit-learn to ONNX exactly, as measured. `retrain check` refuses
anything else, so that no weekly run finds it out. Ratchet chooses seeds, early stopping and
processes: a person's choice would make runs unequal.
"""

from __future__ import annotations

_BOOSTED_TREES = frozenset(
    {
        "learning_rate",
        "max_iter",
        "max_leaf_nodes",
        "max_depth",
        "min_samples_leaf",
        "l2_regularization",
        "max_features",
        "max_bins",
    }
)
ESTIMATORS: dict[str, frozenset[str]] = {
    "sklearn.ensemble.HistGradientBoostingClassifier": _BOOSTED_TREES,
    "sklearn.ensemble.HistGradientBoostingRegressor": _BOOSTED_TREES | {"loss", "quantile"},
    "sklearn.linear_model.Ridge": frozenset({"alpha", "fit_intercept", "tol", "max_iter"}),
    "sklearn.linear_model.LogisticRegression": frozenset(
        {"C", "l1_ratio", "tol", "fit_intercept", "intercept_scaling", "solver", "max_iter"}
    ),
}

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
