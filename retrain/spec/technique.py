"""A technique of a model's YAML, and the techniques of a model that names none. Pure."""

from __future__ import annotations

from pydantic import field_validator, model_validator

from retrain.spec.estimators import CHOSEN_BY_RATCHET, ESTIMATORS, parameters_of
from retrain.spec.mistakes import nearest
from retrain.spec.section import Section
from retrain.tasks.task import Task


class Technique(Section):
    """An estimator's import path and parameters."""

    estimator: str
    params: dict[str, bool | int | float | str | None] = {}

    @field_validator("estimator")
    @classmethod
    def _is_allowed(cls, estimator: str) -> str:
        if estimator not in ESTIMATORS:
            raise ValueError(
                f"must be an estimator that exports exactly, is `{estimator}`; {_hint(estimator)}"
            )
        return estimator

    @model_validator(mode="after")
    def _parameters_are_known(self) -> Technique:
        parameters = parameters_of(self.estimator)
        if ours := sorted(set(self.params) & CHOSEN_BY_RATCHET):
            raise ValueError(
                f"leaves {', '.join(ours)} to Ratchet: a run must be repeatable and export exactly"
            )
        if unknown := sorted(set(self.params) - parameters):
            raise ValueError(
                f"has no parameter `{unknown[0]}`; {nearest(unknown[0], list(parameters))}"
            )
        return self


def _hint(estimator: str) -> str:
    close = nearest(estimator, list(ESTIMATORS))
    return close if close.startswith("did you mean") else "docs/estimators.md lists them"


def default_techniques(task: Task) -> dict[str, Technique]:
    """Return the techniques of a model file that names none."""
    return {
        name: Technique(estimator=estimator, params=params)
        for name, (estimator, params) in task.default_techniques.items()
    }
