"""Rows as pipelines take them while they are fitted. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from retrain.contract import Feature
from retrain.model.arrow import columns_of_rows


def usable_features(features: Sequence[Feature], rows: pa.Table) -> tuple[Feature, ...]:
    """Return the features with at least one value. Others can be neither fitted nor exported."""
    return tuple(
        feature for feature in features if rows.column(feature.name).null_count < rows.num_rows
    )


def to_frame(features: Sequence[Feature], rows: pa.Table) -> pd.DataFrame:
    """Return the rows as a pipeline takes them: object columns of strings, float32 of numbers."""
    columns = columns_of_rows(features, rows)
    return pd.DataFrame({name: cells.ravel() for name, cells in columns.items()}, copy=False)


def evenly_spaced(rows: pa.Table, count: int) -> pa.Table:
    """Return `count` rows from first to last, or all when there are no more; always the same ones.

    >>> evenly_spaced(pa.table({"x": range(9)}), 3).column("x").to_pylist()
    [0, 4, 8]
    """
    if rows.num_rows <= count:
        return rows
    return rows.take(np.linspace(0, rows.num_rows - 1, count).round().astype(np.int64))
