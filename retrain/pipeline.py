"""A model's features and one technique become a scikit-learn pipeline that exports to ONNX exactly. Pure.

What makes the export exact was measured (FACTS.md): categories as strings, where a missing one is the category "" and no null is left;
numbers as float32 before the fit and before every prediction; no estimator that treats columns as categorical by itself.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.base import BaseEstimator, is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from retrain.contract import Feature
from retrain.errors import TrainingError
from retrain.spec import Technique

MISSING_CATEGORY = ""
"""How a missing category enters a model; a missing number is NaN."""

UNKNOWN_CODE, MISSING_CODE = -1, -2
"""Codes of a category that training did not hold and of a null; left to itself, the encoder's null exports wrong."""


def make_pipeline(technique: Technique, features: Sequence[Feature], *, seed: int) -> Pipeline:
    """Return an unfitted pipeline that takes the frame of `to_frame`.

    Trees get categories as ordinal codes; all else gets them one-hot, and numbers imputed by their median and scaled.

    Raises:
        TrainingError: The estimator cannot be made.
    """
    estimator = make_estimator(technique, seed=seed)
    categories = [feature.name for feature in features if feature.type == "category"]
    numbers = [feature.name for feature in features if feature.type != "category"]
    encode, prepare = _for_trees() if _is_tree(estimator) else _for_the_rest()
    columns = [("categories", encode, categories), ("numbers", prepare, numbers)]
    return Pipeline([("columns", ColumnTransformer([part for part in columns if part[2]])), ("estimator", estimator)])


def make_estimator(technique: Technique, *, seed: int) -> BaseEstimator:
    """Return the technique's estimator, seeded and without early stopping.

    Raises:
        TrainingError: The path names no classifier, or a parameter is unknown.

    >>> make_estimator(Technique(estimator="sklearn.linear_model.LogisticRegression"), seed=7).random_state
    7
    """
    module, _, name = technique.estimator.rpartition(".")
    try:
        estimator = getattr(importlib.import_module(module), name)(**technique.params)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise TrainingError(f"{technique.estimator} with {technique.params} cannot be made: {error}") from error
    if not is_classifier(estimator):
        raise TrainingError(f"{technique.estimator} is no classifier; name a class such as sklearn.linear_model.LogisticRegression")
    ours = {"random_state": seed, "early_stopping": False}  # early stopping would hold out random rows, which share days with the others
    known = estimator.get_params()
    return estimator.set_params(**{name: value for name, value in ours.items() if name in known})


def _is_tree(estimator: BaseEstimator) -> bool:
    return type(estimator).__module__.startswith(("sklearn.ensemble", "sklearn.tree"))


def _for_trees() -> tuple[BaseEstimator, BaseEstimator | str]:
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=UNKNOWN_CODE, encoded_missing_value=MISSING_CODE, dtype=np.float32)
    return codes, "passthrough"


def _for_the_rest() -> tuple[BaseEstimator, BaseEstimator | str]:
    return OneHotEncoder(handle_unknown="ignore"), Pipeline([("impute", SimpleImputer(strategy="median")), ("scale", StandardScaler())])


def usable_features(features: Sequence[Feature], rows: pa.Table) -> tuple[Feature, ...]:
    """Return the features that hold at least one value; a column without any cannot be fitted, nor exported."""
    return tuple(feature for feature in features if rows.column(feature.name).null_count < rows.num_rows)


def to_frame(features: Sequence[Feature], rows: pa.Table) -> pd.DataFrame:
    """Return the rows as pipelines take them: object columns of strings, float32 columns of numbers."""
    return pd.DataFrame({feature.name: to_column(feature, rows) for feature in features}, copy=False)


def to_column(feature: Feature, rows: pa.Table) -> npt.NDArray[np.float32] | npt.NDArray[np.object_]:
    """Return one feature's values as they enter the ONNX model, of shape [N]."""
    column = rows.column(feature.name)
    if feature.type == "category":
        return np.asarray(pc.fill_null(column.cast(pa.string()), MISSING_CATEGORY).to_numpy(), dtype=object)
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float32)
