"""Tasks agree with metrics, cards and model files, and nothing else asks which task it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from retrain.comparison.metrics import METRICS, metric_named
from retrain.contract import TaskName
from retrain.errors import OneClassLabel, TrainingError
from retrain.spec.technique import default_techniques
from retrain.tasks.binary import BINARY
from retrain.tasks.regression import REGRESSION
from retrain.tasks.table import TASKS
from retrain.tasks.task import OutputForm

NAN = float("nan")
ROOT = Path(__file__).parents[4]
MINUTES = OutputForm(name="delay", unit="minute")


def test_every_metric_belongs_to_a_task_and_every_task_is_in_the_table() -> None:
    assert set(TASKS) == set(get_args(TaskName))
    assert {name for task in TASKS.values() for name in task.metrics} == set(METRICS)
    for task in TASKS.values():
        assert task.default_metric in task.metrics
        assert {metric_named(name).takes for name in task.metrics} <= task.takes
        assert list(default_techniques(task)) == list(task.default_techniques)


def test_only_a_task_knows_which_task_it_is() -> None:
    names = "|".join(TASKS)
    asks = re.compile(
        rf"(?:==|!=|\bin|\bis|case)[ (\[{{]*[\"'](?:{names})\b|\btask(?:\.name)? (?:==|!=) "
    )
    offenders = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for room in ("retrain", "promote", "serving", "client_api", "dags")
        for path in sorted((ROOT / room).rglob("*.py"))
        if path.parent.name != "tasks"
        for line in path.read_text(encoding="utf-8").splitlines()
        if asks.search(line.partition("#")[0]) and "TaskName = Literal" not in line
    ]
    assert offenders == []


@pytest.mark.parametrize(
    ("values", "error", "sentence"),
    [
        ([0, 1, NAN, NAN], TrainingError, r"2 of 4 test rows have no label \(late\)"),
        ([0, 1, 2], TrainingError, "late must be true or false"),
        ([1, 1, 1], OneClassLabel, "all 3 test rows have late = True"),
    ],
)
def test_labels_that_no_classifier_can_learn_from_are_refused(
    values: list[float], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        BINARY.labels(np.array(values), column="late", split="test")


@pytest.mark.parametrize(
    ("values", "error", "sentence"),
    [
        ([3.5, NAN], TrainingError, r"1 of 2 test rows have no label \(delay\)"),
        ([3.5, np.inf, -np.inf], TrainingError, "2 of 3 test rows have an infinite delay"),
        ([7, 7], OneClassLabel, "all 2 test rows have delay = 7"),
    ],
)
def test_labels_that_no_regressor_can_learn_from_are_refused(
    values: list[float], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        REGRESSION.labels(np.array(values), column="delay", split="test")


class Answers:
    """An estimator with the given answers."""

    def __init__(self, *answers: float) -> None:
        self._answers = np.array(answers)

    def predict(self, _frame: object) -> np.ndarray:
        return self._answers


@pytest.mark.parametrize(
    ("theirs", "ours", "is_exact"),
    [
        ((1.0, 2.0, 3.0), (1.0, 2.0, 3.00001), False),
        ((1.0, 2.0, 3.0), (1.0, 2.0, 3.000001), True),
        ((1e6 + 1, 1e6 + 2, 1e6 + 3), (1e6 + 1, 1e6 + 2, 1e6 + 3.0625), False),  # as float32 would
        ((1e6, 2e6, 3e6), (1e6, 2e6, 3e6 + 1), True),
        ((5.0, 5.0, 5.0), (5.0, 5.0, 5.001), False),
        ((1.0, 2.0, NAN), (1.0, 2.0, NAN), False),
    ],
)
def test_a_difference_counts_relative_to_the_spread_of_the_answers(
    theirs: tuple[float, ...], ours: tuple[float, ...], is_exact: bool
) -> None:
    found = REGRESSION.difference([np.array(ours)[:, None]], Answers(*theirs), None, ordinary=3)
    assert (found.largest <= REGRESSION.tolerance) is is_exact


def test_an_answer_far_beyond_the_spread_is_compared_relative_to_itself() -> None:
    theirs, ours = (1.0, 2.0, 1e30), (1.0, 2.0, 1e30 * (1 + 3e-7))
    for ordinary, is_exact in ((2, True), (3, False)):
        found = REGRESSION.difference(
            [np.array(ours)[:, None]], Answers(*theirs), None, ordinary=ordinary
        )
        assert (found.largest <= REGRESSION.tolerance) is is_exact or ordinary == 3


def test_a_regression_answers_under_the_name_and_unit_of_the_model_file() -> None:
    answer = REGRESSION.output("arr_delay", MINUTES)
    assert (answer.name, answer.unit, answer.network_output) == ("delay", "minute", "variable")
    assert REGRESSION.problem_with_output(None)
    assert BINARY.problem_with_output(MINUTES)


def test_churn_has_the_unit_of_the_output() -> None:
    assert REGRESSION.problem_with_churn("minutes", MINUTES) is None
    assert REGRESSION.problem_with_churn(None, MINUTES) is None
    assert REGRESSION.problem_with_churn("minutes", OutputForm(name="delay")) == (
        "is in minutes, and the output has no unit"
    )
    assert BINARY.problem_with_churn("minutes", None)
