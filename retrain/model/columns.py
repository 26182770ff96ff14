"""Sequences of cells become the arrays that a network takes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from retrain.contract import Cell, Feature

Columns = dict[str, np.ndarray[Any, Any]]
"""By feature, shape [N, 1]: float32 with NaN for missing, or object with "" for missing."""

MISSING_CATEGORY = ""
LARGEST = float(np.finfo(np.float32).max)
_TEXT = {str, type(None)}


class CellRefused(ValueError):
    """A cell that its feature cannot have; the message names the feature."""


def columns_of(features: Sequence[Feature], cells: Mapping[str, Sequence[Cell]]) -> Columns:
    """Return one array for each feature.

    Args:
        features: Of the model.
        cells: For each feature a sequence; all have the same length.

    Raises:
        CellRefused: A category is no text, or a number is none that 32 bits hold.

    >>> carrier = Feature(name="carrier", type="category")
    >>> columns_of([carrier], {"carrier": ["UA", None]})["carrier"].tolist()
    [['UA'], ['']]
    """
    texts = {one.name: cells[one.name] for one in features if one.type == "category"}
    numbers = {one.name: cells[one.name] for one in features if one.type != "category"}
    return _categories(texts) | _numbers(numbers)


def missing_rows(features: Sequence[Feature], rows: int) -> Columns:
    """Return rows in which every value is missing."""
    texts = {one.name for one in features if one.type == "category"}
    return {
        one.name: np.full((rows, 1), MISSING_CATEGORY, dtype=object)
        if one.name in texts
        else np.full((rows, 1), np.nan, dtype=np.float32)
        for one in features
    }


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


# All columns of a kind become one array. For a few rows numpy's calls are most of the time.


def _categories(columns: Mapping[str, Sequence[Cell]]) -> Columns:
    cells = [*chain.from_iterable(columns.values())]
    if not set(map(type, cells)) <= _TEXT:
        name = next(name for name, cells in columns.items() if not set(map(type, cells)) <= _TEXT)
        raise CellRefused(f"column {name} holds categories: send strings, not numbers")
    array = np.empty(len(cells), dtype=object)
    array[:] = [MISSING_CATEGORY if cell is None else cell for cell in cells]
    return dict(zip(columns, array.reshape(len(columns), -1, 1), strict=True)) if columns else {}


def _numbers(columns: Mapping[str, Sequence[Cell]]) -> Columns:
    if not columns:
        return {}
    cells = [*chain.from_iterable(columns.values())]
    if str in set(map(type, cells)):
        name = next(name for name, cells in columns.items() if str in set(map(type, cells)))
        raise CellRefused(f"column {name} holds numbers: send numbers, not strings")
    wide = np.array(cells, dtype=np.float64)  # None becomes NaN
    fits = np.abs(wide) <= LARGEST
    if np.count_nonzero(fits) + cells.count(None) != len(cells):
        wrong = (place for place, cell in enumerate(cells) if cell is not None and not fits[place])
        name = list(columns)[next(wrong) * len(columns) // len(cells)]
        raise CellRefused(
            f"column {name} holds a number that is not finite or does not fit 32 bits"
        )
    return dict(zip(columns, wide.astype(np.float32).reshape(len(columns), -1, 1), strict=True))
