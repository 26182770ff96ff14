"""The estimators a technique may name, and the parameters that are a person's choice. Pure.

Only what was measured to leave scikit-learn for ONNX exactly is here; anything else is refused by `retrain check`, not found out in a weekly run.
Seeds, early stopping and processes are Ratchet's choice: a person's would make runs unequal.
"""

from __future__ import annotations

ESTIMATORS: dict[str, frozenset[str]] = {
    "sklearn.ensemble.HistGradientBoostingClassifier": frozenset(
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
    ),
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
