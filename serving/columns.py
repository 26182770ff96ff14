"""A block's JSON columns become the arrays a model takes. Pure.

The gateway validates every row and says which field is wrong; here is only what keeps one caller's block from harming another's.
Ranges are the gateway's alone: a number outside one harms nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from retrain.contract import Feature
from serving.contract import BlockError, Cell

Columns = dict[str, np.ndarray[Any, Any]]
"""By feature, shape `[rows, 1]`: float32 with NaN for missing, or object with "" for missing."""

LARGEST = float(np.finfo(np.float32).max)


class Unanswerable(ValueError):
    """A block that is answered with an error."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.error = BlockError(status=status, detail=detail)


def columns_of(cells: Mapping[str, Sequence[Cell]], features: Sequence[Feature], *, max_rows: int) -> Columns:
    """Return one array for each feature; a feature that may be missing and is, is missing in every row.

    Raises:
        Unanswerable: 400 when a column is unknown, missing, of another length or type; 413 when there are too many rows.
    """
    rows = _rows(cells, max_rows)
    unknown = sorted(set(cells) - {feature.name for feature in features})
    if unknown:
        raise Unanswerable(400, f"unknown columns: {', '.join(unknown[:5])}; this model takes {', '.join(feature.name for feature in features)}")
    return {feature.name: _array(feature, cells.get(feature.name), rows) for feature in features}


def join(blocks: Sequence[Columns]) -> Columns:
    """Return the rows of all blocks, in order."""
    if len(blocks) == 1:
        return blocks[0]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def row_count(columns: Columns) -> int:
    """Return how many rows the columns have."""
    return len(next(iter(columns.values())))


def rows_between(columns: Columns, start: int, end: int) -> Columns:
    """Return the rows in `[start, end)`."""
    return {name: column[start:end] for name, column in columns.items()}


def _rows(cells: Mapping[str, Sequence[Cell]], max_rows: int) -> int:
    lengths = {len(column) for column in cells.values()}
    if len(lengths) > 1:
        raise Unanswerable(400, f"columns have different lengths: {', '.join(f'{name} {len(column)}' for name, column in list(cells.items())[:8])}")
    rows = lengths.pop() if lengths else 0
    if rows == 0:
        raise Unanswerable(400, "the block has no rows")
    if rows > max_rows:
        raise Unanswerable(413, f"the block has {rows} rows, at most {max_rows} are answered at once: send several blocks")
    return rows


def _array(feature: Feature, column: Sequence[Cell] | None, rows: int) -> np.ndarray[Any, Any]:
    if column is None:
        if feature.required:
            raise Unanswerable(400, f"column {feature.name} is required and missing")
        column = [None] * rows
    types = set(map(type, column))
    if feature.required and type(None) in types:
        raise Unanswerable(400, f"column {feature.name} is required and missing in row {list(column).index(None)}")
    return _categories(feature, column, types) if feature.type == "category" else _numbers(feature, column, types)


def _categories(feature: Feature, column: Sequence[Cell], types: set[type]) -> np.ndarray[Any, Any]:
    if not types <= {str, type(None)}:
        raise Unanswerable(400, f"column {feature.name} holds categories: send strings, not numbers")
    array = np.empty((len(column), 1), dtype=object)
    array[:, 0] = ["" if cell is None else cell for cell in column] if type(None) in types else column
    return array


def _numbers(feature: Feature, column: Sequence[Cell], types: set[type]) -> np.ndarray[Any, Any]:
    if str in types:
        raise Unanswerable(400, f"column {feature.name} holds numbers: send numbers, not strings")
    wide = np.array(column, dtype=np.float64)  # None becomes NaN
    sent = np.array([cell is not None for cell in column]) if type(None) in types else True
    if not np.all((np.abs(wide) <= LARGEST) | ~np.asarray(sent)):
        raise Unanswerable(400, f"column {feature.name} holds a number that is not finite or does not fit 32 bits")
    return wide.astype(np.float32).reshape(-1, 1)
