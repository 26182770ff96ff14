"""Rows of an Arrow table become arrays for a network. Not in the server's image. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retrain.contract import Feature
from retrain.errors import BadColumn
from retrain.model.columns import MISSING_CATEGORY, Columns


def columns_of_rows(features: Sequence[Feature], rows: pa.Table) -> Columns:
    """Return one array of shape [N, 1] for each feature; the rows have every feature's column.

    Raises:
        BadColumn: A column has a type that its feature cannot be read from.

    >>> carrier = Feature(name="carrier", type="category")
    >>> columns_of_rows([carrier], pa.table({"carrier": ["UA", None]}))["carrier"].tolist()
    [['UA'], ['']]
    """
    return {feature.name: _column(feature, rows) for feature in features}


def _column(feature: Feature, rows: pa.Table) -> np.ndarray[Any, Any]:
    column, is_category = rows.column(feature.name), feature.type == "category"
    try:
        cast = column.cast(pa.string() if is_category else pa.float64(), safe=False)
    except pa.ArrowException as error:  # its text repeats the value
        raise BadColumn(
            f"`{feature.name}` holds {column.type}, which cannot be read as a {feature.type}: "
            "correct the model's query"
        ) from error
    if is_category:
        texts = pc.fill_null(cast, MISSING_CATEGORY).to_pylist()
        return np.array(texts, dtype=object).reshape(-1, 1)
    numbers = pc.fill_null(cast, float("nan")).to_numpy()
    return np.asarray(numbers, dtype=np.float32).reshape(-1, 1)
