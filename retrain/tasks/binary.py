"""Binary classification: all that only this task knows. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrain.comparison.metrics import says_true
from retrain.contract import Output, TaskName
from retrain.errors import OneClassLabel, TrainingError
from retrain.tasks.labels import require_labels
from retrain.tasks.task import (
    Difference,
    EstimatorKind,
    Floats,
    Labels,
    LabelType,
    OutputForm,
    Parameters,
    PictureName,
)


@dataclass(frozen=True)
class BinaryClassification:
    """Two classes: the model answers P(label is true). A `retrain.tasks.task.Task`."""

    name: TaskName = "binary_classification"
    estimator_kind: EstimatorKind = "classifier"
    label_types: tuple[LabelType, ...] = ("boolean", "integer")
    metrics: tuple[str, ...] = ("log_loss", "brier", "accuracy", "roc_auc", "average_precision")
    default_metric: str = "log_loss"
    takes: frozenset[str] = frozenset({"probabilities", "order"})
    pictures: tuple[PictureName, ...] = ("roc", "precision_recall", "calibration")
    network_outputs: tuple[str, ...] = ("label", "probabilities")
    tolerance: float = 1e-5
    """Of two probabilities. Exact exports show 3e-7, wrong ones 0.07 (docs/facts.md)."""

    @property
    def default_techniques(self) -> Mapping[str, tuple[str, Parameters]]:
        """The estimator and its parameters, by the name of the technique."""
        return {
            "boosted_trees": ("sklearn.ensemble.HistGradientBoostingClassifier", {"max_iter": 200}),
            "logistic": ("sklearn.linear_model.LogisticRegression", {}),
        }

    def output(self, label: str, form: OutputForm | None) -> Output:  # noqa: ARG002 - see `problem_with_output`
        """Return what the model answers, and where its network gives the answer."""
        return Output(
            name="probability",
            description=f"Probability that {label} is true",
            minimum=0,
            maximum=1,
            network_output="probabilities",
            column=1,
        )

    def problem_with_output(self, form: OutputForm | None) -> str | None:
        """Return why the model file's `output` does not fit, as the end of a sentence."""
        if form is None:
            return None
        return "is for regression; this task always answers `probability`"

    def problem_with_churn(self, unit: str | None, form: OutputForm | None) -> str | None:  # noqa: ARG002 - never fits
        """Return why the policy's `churn` does not fit."""
        return "is for regression; this task counts the rows that get the opposite answer"

    def labels(self, values: Floats, *, column: str, split: str) -> Labels:
        """Return the labels as 1 or 0; see `Task.labels`.

        Raises:
            OneClassLabel: All rows have the same label.

        >>> BINARY.labels(np.array([0.0, 1.0]), column="late", split="train").tolist()
        [0, 1]
        """
        require_labels(values, column=column, split=split)
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

    def problem_with_values(self, lowest: float, highest: float) -> str | None:
        """Return why labels in this range do not fit, as the end of a sentence."""
        if {lowest, highest} <= {0.0, 1.0}:
            return None
        return f"must be true or false, or 1 or 0; it goes from {lowest:g} to {highest:g}"

    def difference(
        self,
        answers: Sequence[NDArray[Any]],
        estimator: Any,
        frame: Any,
        *,
        ordinary: int,  # noqa: ARG002 - probabilities have one scale
    ) -> Difference:
        """Compare P(label is true) and the label itself."""
        labels, probabilities = answers
        differences = np.abs(probabilities[:, 1] - estimator.predict_proba(frame)[:, 1])
        worst = float(np.max(np.where(np.isnan(differences), np.inf, differences)))
        return Difference(worst, int(np.sum(labels != estimator.predict(frame))))

    def churn(self, champion: Floats, challenger: Floats, *, beyond: float | None) -> str:  # noqa: ARG002 - see `problem_with_churn`
        """Return in a sentence how many rows get another label from the challenger.

        >>> BINARY.churn(np.array([0.4, 0.6]), np.array([0.6, 0.7]), beyond=None)
        '50.0 % of the test rows get the opposite answer (threshold 0.5).'
        """
        share = float(np.mean(says_true(champion) != says_true(challenger)))
        return f"{100 * share:.1f} % of the test rows get the opposite answer (threshold 0.5)."


BINARY = BinaryClassification()
