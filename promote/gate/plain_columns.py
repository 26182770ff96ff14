"""Columns of the test rows as arrays of plain values; any other value is a fault. Pure.

Plain values are texts, bytes, numbers, booleans, dates, times and UUIDs. None and NaN mean missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import ArrayLike, NDArray

MOST_BITS = 4096
"""Python does not write much longer integers in decimal digits."""
_SIMPLE = {type(None), str, bool, int, float}
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
    if isinstance(column, np.ma.MaskedArray):
        column = _without(np.ma.getmaskarray(column), column.data.astype(object))
    if column.dtype.kind in "biufUS":
        return column
    if column.dtype.kind in "mM":
        return _without(np.isnat(column), column.astype(str).astype(object))
    cells = column.astype(object).tolist()
    is_simple = set(map(type, cells)) <= _SIMPLE
    return _objects(cells if is_simple else map(_plain, cells), len(cells))


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
    if hasattr(values, "__array__"):  # such as a column of pandas or Arrow
        return _as_array(values)
    cells = list(values)
    return _objects(cells, len(cells))


def _as_array(values: Any) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise OddColumn(f"found a {type(values).__name__}, which is no column") from error


def _objects(cells: Iterable[Any], size: int) -> NDArray[Any]:
    column = np.empty(size, dtype=object)
    for place, cell in enumerate(cells):  # `column[:] = cells` would take a list in a cell apart
        column[place] = cell
    return column


def _without(missing: NDArray[np.bool_], cells: NDArray[Any]) -> NDArray[Any]:
    """Return a copy whose missing cells are None."""
    found = cells.copy()
    found[missing] = None
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, np.datetime64 | np.timedelta64):
        return None if np.isnat(value) else str(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Decimal) and value.is_nan():
        return None
    if value is not None and not isinstance(value, _PLAIN):
        raise OddColumn(
            f"found values of the type {type(value).__name__}; use texts, numbers or dates"
        )
    return value
