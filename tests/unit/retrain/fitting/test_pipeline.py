"""What a technique becomes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from retrain.contract import Feature
from retrain.errors import TrainingError
from retrain.fitting.frames import to_frame
from retrain.fitting.pipeline import make_estimator, make_pipeline, require_room
from retrain.spec.technique import Technique
from tests.grounds.learnable_rows import FEATURES, LOGISTIC, TREES, make_rows


def test_trees_are_seeded_and_never_stop_early_on_random_rows():
    estimator = make_estimator(TREES, seed=11)
    assert estimator.random_state == 11
    assert estimator.early_stopping is False
    assert estimator.max_iter == 10


def test_trees_get_codes_and_linear_models_get_one_column_a_category():
    encoders = [
        make_pipeline(technique, FEATURES, seed=0)["columns"].transformers[0][1]
        for technique in (TREES, LOGISTIC)
    ]
    assert [type(encoder) for encoder in encoders] == [OrdinalEncoder, OneHotEncoder]
    assert encoders[0].encoded_missing_value == -2


def test_linear_models_take_a_missing_number_for_the_median_and_every_number_on_one_scale():
    rows = make_rows(500)
    columns = make_pipeline(LOGISTIC, FEATURES[1:], seed=0)["columns"]
    found = columns.fit_transform(to_frame(FEATURES[1:], rows))
    assert np.allclose(found.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(found.std(axis=0), 1, atol=1e-5)
    wind = rows.column("wind_speed").to_numpy()
    median = to_frame(FEATURES[1:], rows.slice(0, 1)).assign(
        wind_speed=np.float32(np.nanmedian(wind))
    )
    assert np.allclose(found[np.isnan(wind), -1], columns.transform(median)[0, -1], atol=1e-5)


def test_a_model_may_have_only_numbers_or_only_categories():
    for kind in ("number", "category"):
        assert (
            len(
                make_pipeline(TREES, (Feature(name="x", type=kind),), seed=0)[
                    "columns"
                ].transformers
            )
            == 1
        )


@pytest.mark.parametrize(
    "estimator",
    [
        "sklearn.linear_model.Nowhere",
        "no.such.module.Class",
        "sklearn.linear_model.LinearRegression",
    ],
)
def test_what_is_no_classifier_is_refused(estimator):
    technique = Technique.model_construct(
        estimator=estimator, params={}
    )  # a spec would refuse it earlier
    with pytest.raises(TrainingError, match=estimator):
        make_estimator(technique, seed=0)


def test_other_trees_get_codes_and_medians_that_are_not_scaled():
    forest = Technique(estimator="sklearn.ensemble.RandomForestClassifier")
    (_, codes, _), (_, numbers, _) = make_pipeline(forest, FEATURES, seed=0)["columns"].transformers
    assert (type(codes), type(numbers)) == (OrdinalEncoder, SimpleImputer)


def test_categories_stay_sparse_unless_the_estimator_refuses_sparse_rows(monkeypatch):
    dense = Technique(estimator="sklearn.linear_model.LarsCV")
    rows = to_frame(FEATURES, make_rows(500))
    for technique, kind, is_sparse in ((LOGISTIC, "classifier", True), (dense, "regressor", False)):
        pipeline = make_pipeline(technique, FEATURES, seed=0, kind=kind)
        assert pipeline["columns"].transformers[0][1].sparse_output is is_sparse
        require_room(pipeline, rows)
        with monkeypatch.context() as little:
            little.setattr("retrain.fitting.pipeline.MOST_DENSE_BYTES", 500 * 8 * 8)
            if is_sparse:
                require_room(pipeline, rows)
                continue
            with pytest.raises(TrainingError, match="500 rows of 9 columns need"):
                require_room(pipeline, rows)
