"""What a technique becomes."""

from __future__ import annotations

import pytest
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from retrain.contract import Feature
from retrain.errors import TrainingError
from retrain.pipeline import make_estimator, make_pipeline
from retrain.spec import Technique
from tests.unit.retrain.synthetic import FEATURES, LOGISTIC, TREES


def test_trees_are_seeded_and_never_stop_early_on_random_rows():
    estimator = make_estimator(TREES, seed=11)
    assert estimator.random_state == 11
    assert estimator.early_stopping is False
    assert estimator.max_iter == 10


def test_trees_get_codes_and_linear_models_get_one_column_a_category():
    encoders = [make_pipeline(technique, FEATURES, seed=0)["columns"].transformers[0][1] for technique in (TREES, LOGISTIC)]
    assert [type(encoder) for encoder in encoders] == [OrdinalEncoder, OneHotEncoder]
    assert encoders[0].encoded_missing_value == -2


def test_a_model_may_have_only_numbers_or_only_categories():
    for kind in ("number", "category"):
        assert len(make_pipeline(TREES, (Feature(name="x", type=kind),), seed=0)["columns"].transformers) == 1


@pytest.mark.parametrize("estimator", ["sklearn.linear_model.Nowhere", "no.such.module.Class", "sklearn.linear_model.LinearRegression"])
def test_what_is_no_classifier_is_refused(estimator):
    technique = Technique.model_construct(estimator=estimator, params={})  # a spec would refuse it earlier
    with pytest.raises(TrainingError, match=estimator):
        make_estimator(technique, seed=0)
