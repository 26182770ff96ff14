"""The task agrees with what the model file, the metrics and the card say."""

import numpy as np
import pytest

from retrain.comparison.metrics import METRICS, MetricName
from retrain.contract import Task
from retrain.errors import OneClassLabel, TrainingError
from retrain.spec.model_file import GatePolicy
from retrain.spec.technique import DEFAULT_TECHNIQUES
from retrain.tasks.binary import BINARY

NAN = float("nan")


def test_the_task_knows_every_metric_that_a_model_file_may_name() -> None:
    assert BINARY.metrics == MetricName.__args__ == tuple(METRICS)  # type: ignore[attr-defined]  # a Literal's values
    assert GatePolicy().metric == BINARY.default_metric
    assert BINARY.name in Task.__args__  # type: ignore[attr-defined]  # as above
    assert list(DEFAULT_TECHNIQUES) == list(BINARY.default_techniques)


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


def test_the_constant_is_the_share_of_true_labels_and_nan_without_labels() -> None:
    assert BINARY.constant(np.array([1.0, 0.0, NAN, 0.0])) == pytest.approx(1 / 3)
    assert np.isnan(BINARY.constant(np.array([])))
