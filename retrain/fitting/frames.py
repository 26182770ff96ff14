"""Rows as pipelines take them while they are fitted. Pure."""

from __future__ import annotations

from collections.abc import Sequence

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
