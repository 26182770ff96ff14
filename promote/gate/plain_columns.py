"""Columns of the test rows as arrays of plain values; any other value is a fault. Pure.

Plain values are texts, bytes, numbers, booleans, dates, times and UUIDs. None and NaN mean missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import ArrayLike, NDArray

MOST_BITS = 4096
"""Python does not write much longer integers in decimal digits."""
_PLAIN = (str, bytes, bool, int, float, Decimal, date, time, timedelta, UUID)


class OddColumn(ValueError):
    """A column that cannot be judged. The message names types and shapes, never a value."""


def plain_column(values: ArrayLike) -> NDArray[Any]:
    """Return a column as an array of one dimension whose cells are plain values.

    Raises:
        OddColumn: `values` is no column, or holds a list, a mapping or another object.

    >>> plain_column([1, None, Decimal("NaN")]).tolist()
    [1, None, None]
    """
    column = _array(values)
    if column.ndim != 1:
        raise OddColumn(f"one value a row was expected, found the shape {column.shape}")
    is_masked = isinstance(column, np.ma.MaskedArray)
    if column.dtype.kind in "biufUS" and not is_masked:
        return column
    return _objects([_plain(cell) for cell in column])


def text_of(value: Any) -> str:
    """Return a plain value as text that can be written as UTF-8."""
    is_long = isinstance(value, int) and value.bit_length() > MOST_BITS
    return (hex(value) if is_long else str(value)).encode(errors="replace").decode()


def _array(values: Any) -> NDArray[Any]:
    """Return the values as an array of objects: a common type would make texts of numbers."""
    if isinstance(values, np.ndarray):
        return values
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise OddColumn(f"one value a row was expected, found a {type(values).__name__}")
    return _objects(list(values))


def _objects(cells: Sequence[Any]) -> NDArray[Any]:
    column = np.empty(len(cells), dtype=object)
    for place, cell in enumerate(cells):  # `column[:] = cells` would take a list in a cell apart
        column[place] = cell
    return column


def _plain(value: Any) -> Any:
    if isinstance(value, np.datetime64 | np.timedelta64):
        return None if np.isnat(value) else str(value)
    if isinstance(value, np.generic):
        value = value.item()
    if value is np.ma.masked or (isinstance(value, Decimal) and value.is_nan()):
        return None
    if value is not None and not isinstance(value, _PLAIN):
        raise OddColumn(
            f"found values of the type {type(value).__name__}; use texts, numbers or dates"
        )
    return value
