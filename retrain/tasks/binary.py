"""Binary classification: all that only this task knows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from retrain.comparison.metrics import MetricName, says_true
from retrain.contract import Output
from retrain.errors import OneClassLabel, TrainingError

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
"""1 or 0 a row."""
Parameters = dict[str, bool | int | float | str | None]


@dataclass(frozen=True)
class BinaryClassification:
    """Two classes: the model answers P(label is true)."""

    name: Literal["binary_classification"] = "binary_classification"
    metrics: tuple[MetricName, ...] = ("log_loss", "brier", "accuracy", "roc_auc")
    """Every run records all of them."""
    default_metric: MetricName = "log_loss"

    @property
    def default_techniques(self) -> Mapping[str, tuple[str, Parameters]]:
        """The estimator and its parameters, by the name of the technique."""
        return {
            "boosted_trees": ("sklearn.ensemble.HistGradientBoostingClassifier", {"max_iter": 200}),
            "logistic": ("sklearn.linear_model.LogisticRegression", {}),
        }

    def output(self, label: str) -> Output:
        """Return what the model answers, and where its network gives the answer."""
        return Output(
            name="probability",
            description=f"Probability that {label} is true",
            minimum=0,
            maximum=1,
            network_output="probabilities",
            column=1,
        )

    def labels(self, values: Floats, *, column: str, split: str) -> Labels:
        """Return the labels as 1 or 0.

        Args:
            values: The label's column; NaN where there is no label.
            column: Its name, for the errors.
            split: `train`, `validation` or `test`, for the errors.

        Raises:
            TrainingError: A label is missing, or neither true nor false.
            OneClassLabel: All rows have the same label.

        >>> BINARY.labels(np.array([0.0, 1.0]), column="late", split="train").tolist()
        [0, 1]
        """
        if missing := int(np.isnan(values).sum()):
            raise TrainingError(
                f"{missing} of {len(values)} {split} rows have no label ({column});"
                " leave such rows out in the query"
            )
        classes = np.unique(values).tolist()
        if not set(classes) <= {0.0, 1.0}:
            raise TrainingError(
                f"the label {column} must be true or false (1 or 0); found {classes[:5]}"
            )
        if len(classes) < 2:
            raise OneClassLabel(
                f"all {len(values)} {split} rows have {column} = {bool(sum(classes))};"
                f" a classifier needs both: look at the query, or make the {split} split longer"
            )
        return values.astype(np.int64)

    def churn(self, champion: Floats, challenger: Floats) -> str:
        """Return in a sentence how many rows get another label from the challenger.

        >>> BINARY.churn(np.array([0.4, 0.6]), np.array([0.6, 0.7]))
        '50.0 % of the test rows get the opposite answer (threshold 0.5).'
        """
        share = float(np.mean(says_true(champion) != says_true(challenger)))
        return f"{100 * share:.1f} % of the test rows get the opposite answer (threshold 0.5)."

    def constant(self, labels: Floats) -> float:
        """Return the answer without a model: the share of true labels, NaN when there is no label.

        >>> BINARY.constant(np.array([1.0, 0.0, 0.0, 0.0, np.nan]))
        0.25
        """
        present = labels[~np.isnan(labels)]
        return float(present.mean()) if len(present) else float("nan")


BINARY = BinaryClassification()
