"""Builds the scikit-learn pipeline of one technique, which exports to ONNX exactly. Pure.

The pipeline takes the frame of `retrain.fitting.frames`. Three things make the export exact
(docs/facts.md): no category is null, numbers are float32 before the fit and before every
prediction, and no estimator treats columns as categories by itself.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.utils import get_tags

from retrain.contract import Feature
from retrain.errors import TrainingError
from retrain.spec.technique import Technique
from retrain.tasks.task import EstimatorKind

MOST_DENSE_BYTES = 2_000_000_000
"""Of the rows of an estimator that takes no sparse matrix."""
UNKNOWN_CODE, MISSING_CODE = -1, -2
"""Codes of a category that training lacks, and of a null. The encoder's own null exports wrong."""

_KINDS = {
    "classifier": (is_classifier, "sklearn.linear_model.LogisticRegression"),
    "regressor": (is_regressor, "sklearn.linear_model.Ridge"),
}


def make_pipeline(
    technique: Technique,
    features: Sequence[Feature],
    *,
    seed: int,
    kind: EstimatorKind = "classifier",
) -> Pipeline:
    """Return an unfitted pipeline that takes the frame of `retrain.fitting.frames.to_frame`.

    Trees get categories as ordinal codes. Other estimators get categories one-hot, and numbers
    scaled. A missing number becomes the median, but for boosted trees, which know missing numbers.

    Raises:
        TrainingError: The estimator cannot be made.
    """
    estimator = make_estimator(technique, seed=seed, kind=kind)
    categories = [feature.name for feature in features if feature.type == "category"]
    numbers = [feature.name for feature in features if feature.type != "category"]
    encode, prepare = _preparation(estimator)
    columns = [("categories", encode, categories), ("numbers", prepare, numbers)]
    return Pipeline(
        [
            ("columns", ColumnTransformer([part for part in columns if part[2]])),
            ("estimator", estimator),
        ]
    )


def make_estimator(
    technique: Technique, *, seed: int, kind: EstimatorKind = "classifier"
) -> BaseEstimator:
    """Return the technique's estimator, seeded and without early stopping.

    Raises:
        TrainingError: The path names no estimator of this kind, or a parameter is unknown.

    >>> logistic = Technique(estimator="sklearn.linear_model.LogisticRegression")
    >>> make_estimator(logistic, seed=7).random_state
    7
    """
    module, _, name = technique.estimator.rpartition(".")
    try:
        estimator = getattr(importlib.import_module(module), name)(**technique.params)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise TrainingError(
            f"{technique.estimator} with {technique.params} cannot be made: {error}"
        ) from error
    is_kind, example = _KINDS[kind]
    if not is_kind(estimator):
        raise TrainingError(f"{technique.estimator} is no {kind}; name a class such as {example}")
    ours = {
        "random_state": seed,
        "early_stopping": False,
    }  # early stopping would hold out random rows, which share days with the others
    takes = estimator.get_params()
    return estimator.set_params(**{name: value for name, value in ours.items() if name in takes})


def _is_boosted_trees(estimator: BaseEstimator) -> bool:
    return type(estimator).__name__.startswith("HistGradientBoosting")


def _is_tree(estimator: BaseEstimator) -> bool:
    return type(estimator).__module__.startswith(("sklearn.ensemble", "sklearn.tree"))


def _preparation(estimator: BaseEstimator) -> tuple[BaseEstimator, BaseEstimator | str]:
    """Return what categories and numbers become for an estimator."""
    codes = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=UNKNOWN_CODE,
        encoded_missing_value=MISSING_CODE,
        dtype=np.float32,
    )
    if _is_boosted_trees(estimator):
        return codes, "passthrough"
    if _is_tree(estimator):  # not scaled: a scaled threshold falls on the other side of a value
        return codes, SimpleImputer(strategy="median")
    takes_sparse = get_tags(estimator).input_tags.sparse
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=takes_sparse)
    scaled = Pipeline([("impute", SimpleImputer(strategy="median")), ("scale", StandardScaler())])
    return one_hot, scaled


def require_room(pipeline: Pipeline, frame: pd.DataFrame) -> None:
    """Raise when the fit would need a matrix that is too large for memory.

    Raises:
        TrainingError: The estimator takes no sparse matrix, and one column for each category is too
            much for these rows.
    """
    for _, step, columns in pipeline["columns"].transformers:
        if isinstance(step, OneHotEncoder) and not step.sparse_output:
            width = frame.shape[1] - len(columns) + sum(frame[name].nunique() for name in columns)
            if (needed := 8 * len(frame) * width) > MOST_DENSE_BYTES:
                raise TrainingError(
                    f"{type(pipeline[-1]).__name__} takes no sparse rows, and {len(frame):,} rows"
                    f" of {width:,} columns need {needed / 1e9:.0f} GB: leave out features with"
                    " many categories, or use an estimator that takes sparse rows"
                )
