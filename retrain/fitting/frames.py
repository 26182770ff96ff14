"""Rows as a model takes them, in training as in production: a missing category is the category "", numbers are float32 and NaN when missing. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from retrain.contract import Feature

MISSING_CATEGORY = ""
Column = npt.NDArray[np.float32] | npt.NDArray[np.object_]
Columns = dict[str, Column]
"""One array of shape [N] a feature."""


def usable_features(features: Sequence[Feature], rows: pa.Table) -> tuple[Feature, ...]:
    """Return the features that hold at least one value; a column without any cannot be fitted, nor exported."""
    return tuple(
        feature for feature in features if rows.column(feature.name).null_count < rows.num_rows
    )


def to_frame(features: Sequence[Feature], rows: pa.Table) -> pd.DataFrame:
    """Return the rows as pipelines take them: object columns of strings, float32 columns of numbers."""
    return pd.DataFrame(to_columns(features, rows), copy=False)


def to_column(feature: Feature, rows: pa.Table) -> Column:
    """Return one feature's values as they enter the ONNX model, of shape [N]."""
    column = rows.column(feature.name)
    if feature.type == "category":
        return np.asarray(
            pc.fill_null(column.cast(pa.string()), MISSING_CATEGORY).to_numpy(), dtype=object
        )
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float32)


def to_columns(features: Sequence[Feature], rows: pa.Table) -> Columns:
    """Return the rows as an exported model takes them: one array of shape [N] a feature."""
    return {feature.name: to_column(feature, rows) for feature in features}


def evenly_spaced(rows: pa.Table, count: int) -> pa.Table:
    """Return `count` rows from first to last, or all when there are no more; always the same ones.

    >>> evenly_spaced(pa.table({"x": range(9)}), 3).column("x").to_pylist()
    [0, 4, 8]
    """
    if rows.num_rows <= count:
        return rows
    return rows.take(np.linspace(0, rows.num_rows - 1, count).round().astype(np.int64))
