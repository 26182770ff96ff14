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
    column = rows.column(feature.name)
    try:
        if feature.type == "category":
            return _texts(column)
        numbers = column.cast(pa.float64(), safe=False)
    except pa.ArrowException as error:  # its text repeats the value
        raise BadColumn(
            f"`{feature.name}` holds {column.type}, which cannot be read as a {feature.type}: "
            "correct the model's query"
        ) from error
    numbers = pc.fill_null(numbers, float("nan")).to_numpy()
    return np.asarray(numbers, dtype=np.float32).reshape(-1, 1)


def _texts(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """Return the cells as Python strings. Equal cells share a string, which saves most memory."""
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string(), safe=False).dictionary_encode()
    cells = np.empty((len(column), 1), dtype=object)
    start = 0
    for chunk in column.chunks:
        texts = [*chunk.dictionary.cast(pa.string()).to_pylist(), None]
        known = np.array([MISSING_CATEGORY if text is None else text for text in texts], object)
        codes = pc.fill_null(chunk.indices, len(known) - 1).to_numpy(zero_copy_only=False)
        cells[start : start + len(chunk), 0] = known[codes]
        start += len(chunk)
    return cells
