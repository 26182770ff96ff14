"""Regression: all that only this task knows. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
class Regression:
    """The model answers a number in the label's unit. A `retrain.tasks.task.Task`."""

    name: TaskName = "regression"
    estimator_kind: EstimatorKind = "regressor"
    label_types: tuple[LabelType, ...] = ("integer", "number")
    metrics: tuple[str, ...] = ("mae", "rmse")
    default_metric: str = "mae"
    takes: frozenset[str] = frozenset({"numbers"})
    pictures: tuple[PictureName, ...] = ("predicted_against_true", "residuals_by_group")
    network_outputs: tuple[str, ...] = ("variable",)
    tolerance: float = 1e-5
    """Relative to the spread. Exact exports show at most 3e-6, wrong ones 0.4 (docs/facts.md)."""

    @property
    def default_techniques(self) -> Mapping[str, tuple[str, Parameters]]:
        """The estimator and its parameters, by the name of the technique."""
        return {
            "boosted_trees": ("sklearn.ensemble.HistGradientBoostingRegressor", {"max_iter": 200}),
            "ridge": ("sklearn.linear_model.Ridge", {}),
        }

    def output(self, label: str, form: OutputForm | None) -> Output:
        """Return what the model answers, and where its network gives the answer."""
        return Output(
            name=form.name if form else label,
            description=(form and form.description) or f"Expected value of {label}",
            unit=form.unit if form else None,
            network_output="variable",
            column=0,
        )

    def problem_with_output(self, form: OutputForm | None) -> str | None:
        """Return why the model file's `output` does not fit, as the end of a sentence."""
        if form is not None:
            return None
        return "is missing; callers read the answer by its name: `output: {name: …, unit: …}`"

    def problem_with_churn(self, unit: str | None, form: OutputForm | None) -> str | None:
        """Return why the policy's `churn` does not fit: its unit is not the output's.

        >>> form = OutputForm(name="delay", unit="minute")
        >>> REGRESSION.problem_with_churn("minutes", form)
        >>> REGRESSION.problem_with_churn("hours", form)
        'is in hours, and the output is in minute'
        """
        of_output = form.unit if form else None
        if unit is None or (of_output and unit.removesuffix("s") == of_output.removesuffix("s")):
            return None
        return (
            f"is in {unit}, and the output {f'is in {of_output}' if of_output else 'has no unit'}"
        )

    def labels(self, values: Floats, *, column: str, split: str) -> Labels:
        """Return the labels as numbers; see `Task.labels`.

        Raises:
            OneClassLabel: All rows have the same label.

        >>> REGRESSION.labels(np.array([3.0, -1.5]), column="delay", split="train").tolist()
        [3.0, -1.5]
        """
        require_labels(values, column=column, split=split)
        if infinite := int(np.isinf(values).sum()):
            raise TrainingError(
                f"{infinite} of {len(values)} {split} rows have an infinite {column};"
                " leave such rows out in the query"
            )
        if values.min() == values.max():
            raise OneClassLabel(
                f"all {len(values)} {split} rows have {column} = {values[0]:g}: a model has nothing"
                f" to learn; look at the query, or make the {split} split longer"
            )
        return values.astype(np.float64)

    def problem_with_values(self, lowest: float, highest: float) -> str | None:
        """Return why labels in this range do not fit, as the end of a sentence."""
        if np.isfinite(lowest) and np.isfinite(highest):
            return None
        return f"must be finite; it goes from {lowest:g} to {highest:g}"

    def difference(
        self, answers: Sequence[NDArray[Any]], estimator: Any, frame: Any, *, ordinary: int
    ) -> Difference:
        """Compare the numbers, relative to the spread of the answers to ordinary rows.

        The network computes in 32 bits. So an answer far beyond the spread, as to an extreme row,
        is compared relative to itself.
        """
        theirs = np.asarray(estimator.predict(frame), np.float64).reshape(-1)
        ours = answers[0].reshape(-1).astype(np.float64)
        usual = theirs[:ordinary]
        spread = float(np.std(usual)) or float(np.max(np.abs(usual))) or 1.0
        is_far = np.abs(theirs - np.mean(usual)) > FAR_BEYOND * spread
        unit = np.where(is_far, np.maximum(spread, np.abs(theirs)), spread)
        differences = np.abs(ours - theirs) / unit
        return Difference(float(np.max(np.where(np.isnan(differences), np.inf, differences))), 0)

    def churn(self, champion: Floats, challenger: Floats, *, beyond: float | None) -> str:
        """Return in a sentence how many answers move by more than `beyond`.

        >>> REGRESSION.churn(np.array([3.0, 4.0]), np.array([3.0, 9.5]), beyond=5)
        '50.0 % of the test rows move by more than 5; the median row moves by 2.75.'
        """
        moves = np.abs(challenger - champion)
        typical = f"the median row moves by {np.median(moves):.3g}."
        if beyond is None:
            return f"{typical[0].upper()}{typical[1:]}"
        share = float(np.mean(moves > beyond))
        return f"{100 * share:.1f} % of the test rows move by more than {beyond:g}; {typical}"


FAR_BEYOND = 10.0
"""Times the spread from the mean. Nearer answers must be exact relative to the spread alone."""
REGRESSION = Regression()
