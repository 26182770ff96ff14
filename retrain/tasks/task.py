"""What a task is: all that depends on what a model answers. Pure.

A task needs numpy only. `retrain/fitting/pictures.py` draws the pictures that a task names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from retrain.contract import Contract, Output, TaskName

Floats = NDArray[np.float64]
Labels = NDArray[Any]
"""int64 1 or 0, or float64 numbers, as the task reads them; shape [N]."""
Parameters = dict[str, bool | int | float | str | None]
EstimatorKind = Literal["classifier", "regressor"]
LabelType = Literal["boolean", "integer", "number"]
PictureName = Literal[
    "roc", "precision_recall", "calibration", "predicted_against_true", "residuals_by_group"
]


class OutputForm(Contract):
    """What a model file says of the model's answer."""

    name: str
    unit: str | None = None
    description: str = ""


@dataclass(frozen=True)
class Difference:
    """How far a network's answers are from its estimator's, on the same rows."""

    largest: float
    """As `Task.tolerance` limits it; infinite when an answer is not a number."""
    flipped: int
    """Rows whose decision differs; 0 for a task that decides nothing."""


class Task(Protocol):
    """One task."""

    @property
    def name(self) -> TaskName:
        """The name in the model file."""

    @property
    def estimator_kind(self) -> EstimatorKind:
        """Which of scikit-learn's estimators can learn the task."""

    @property
    def label_types(self) -> tuple[LabelType, ...]:
        """The canonical types that the label's column may have."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that every run records."""

    @property
    def default_metric(self) -> str:
        """The gate's metric when the model file names none."""

    @property
    def takes(self) -> frozenset[str]:
        """The `Metric.takes` that the gate may use for this task."""

    @property
    def default_techniques(self) -> Mapping[str, tuple[str, Parameters]]:
        """The estimator and its parameters, by the name of the technique."""

    @property
    def pictures(self) -> tuple[PictureName, ...]:
        """The pictures of a model on held-out rows."""

    @property
    def network_outputs(self) -> tuple[str, ...]:
        """The network's outputs that `difference` compares."""

    @property
    def tolerance(self) -> float:
        """The largest difference between network and estimator that may ship."""

    def output(self, label: str, form: OutputForm | None) -> Output:
        """Return what the model answers, and where its network gives the answer."""

    def problem_with_output(self, form: OutputForm | None) -> str | None:
        """Return why the model file's `output` does not fit, as the end of a sentence."""

    def problem_with_churn(self, unit: str | None, form: OutputForm | None) -> str | None:
        """Return why the policy's `churn` does not fit, as the end of a sentence.

        Args:
            unit: The churn's unit as the model file has it, `minutes`; None when it names none.
            form: The model file's `output`.
        """

    def labels(self, values: Floats, *, column: str, split: str) -> Labels:
        """Return the labels as the estimator learns them.

        Args:
            values: The label's column; NaN where there is no label.
            column: Its name, for the errors.
            split: `train`, `validation` or `test`, for the errors.

        Raises:
            TrainingError: A label is missing, or no model can learn from these labels.
        """

    def problem_with_values(self, lowest: float, highest: float) -> str | None:
        """Return why labels from `lowest` to `highest` do not fit, as the end of a sentence."""

    def difference(
        self, answers: Sequence[NDArray[Any]], estimator: Any, frame: Any, *, ordinary: int
    ) -> Difference:
        """Compare the network's outputs with the fitted estimator's answers.

        Args:
            answers: The arrays of `network_outputs`.
            estimator: Fitted.
            frame: The rows, as the estimator takes them.
            ordinary: How many of the first rows are recorded ones; the others are extreme.
        """

    def churn(self, champion: Floats, challenger: Floats, *, beyond: float | None) -> str:
        """Return in a sentence how many answers change.

        Args:
            champion: The champion's answers, shape [N].
            challenger: The challenger's, to the same rows.
            beyond: The smallest change that the model file counts, in the output's unit.
        """
