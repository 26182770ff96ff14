"""A block's JSON columns become the arrays a model takes. Pure.

The gateway validates every row and says which field is wrong; here is only what keeps one caller's block from harming another's.
Ranges are the gateway's alone: a number outside one harms nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from retrain.contract import Feature
from serving.contract import BlockError, Cell

Columns = dict[str, np.ndarray[Any, Any]]
"""By feature, shape `[rows, 1]`: float32 with NaN for missing, or object with "" for missing."""

LARGEST = float(np.finfo(np.float32).max)
TEXT = {str, type(None)}


class Unanswerable(ValueError):
    """A block that is answered with an error."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.error = BlockError(status=status, detail=detail)


def columns_of(
    cells: Mapping[str, Sequence[Cell]], features: Sequence[Feature], *, max_rows: int
) -> Columns:
    """Return one array for each feature; a feature that may be missing and is, is missing in every row.

    Raises:
        Unanswerable: 400 when a column is unknown, missing, of another length or type; 413 when there are too many rows.
    """
    rows = _rows(cells, max_rows)
    if not cells.keys() <= {feature.name for feature in features}:
        unknown = sorted(set(cells) - {feature.name for feature in features})
        raise Unanswerable(
            400,
            f"unknown columns: {', '.join(unknown[:5])}; this model takes {', '.join(feature.name for feature in features)}",
        )
    texts: dict[str, Sequence[Cell]] = {}
    numbers: dict[str, Sequence[Cell]] = {}
    for feature in features:
        column = cells.get(feature.name)
        if feature.required and (column is None or None in column):
            where = "" if column is None else f" in row {list(column).index(None)}"
            raise Unanswerable(400, f"column {feature.name} is required and missing{where}")
        (texts if feature.type == "category" else numbers)[feature.name] = (
            [None] * rows if column is None else column
        )
    return _categories(texts, rows) | _numbers(numbers, rows)


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
        raise Unanswerable(
            400,
            f"columns have different lengths: {', '.join(f'{name} {len(column)}' for name, column in list(cells.items())[:8])}",
        )
    rows = lengths.pop() if lengths else 0
    if rows == 0:
        raise Unanswerable(400, "the block has no rows")
    if rows > max_rows:
        raise Unanswerable(
            413,
            f"the block has {rows} rows, at most {max_rows} are answered at once: send several blocks",
        )
    return rows


# All columns of a kind become one array: of the few rows that a phone sends, the number of numpy's calls is the time.


def _categories(columns: Mapping[str, Sequence[Cell]], rows: int) -> Columns:
    cells = [*chain.from_iterable(columns.values())]
    if not set(map(type, cells)) <= TEXT:
        name = next(name for name, column in columns.items() if not set(map(type, column)) <= TEXT)
        raise Unanswerable(400, f"column {name} holds categories: send strings, not numbers")
    array = np.empty(len(cells), dtype=object)
    array[:] = ["" if cell is None else cell for cell in cells]
    return dict(zip(columns, array.reshape(len(columns), rows, 1), strict=True))


def _numbers(columns: Mapping[str, Sequence[Cell]], rows: int) -> Columns:
    cells = [*chain.from_iterable(columns.values())]
    if str in set(map(type, cells)):
        name = next(name for name, column in columns.items() if str in set(map(type, column)))
        raise Unanswerable(400, f"column {name} holds numbers: send numbers, not strings")
    wide = np.array(cells, dtype=np.float64)  # None becomes NaN
    fits = np.abs(wide) <= LARGEST
    if np.count_nonzero(fits) + cells.count(None) != len(cells):
        wrong = next(
            place for place, cell in enumerate(cells) if cell is not None and not fits[place]
        )
        raise Unanswerable(
            400,
            f"column {list(columns)[wrong // rows]} holds a number that is not finite or does not fit 32 bits",
        )
    return dict(zip(columns, wide.astype(np.float32).reshape(len(columns), rows, 1), strict=True))
