"""A block is checked before its cells become arrays. Pure.

The gateway validates every row and names the wrong field. These checks keep one caller's block
from harming another's. Ranges are the gateway's alone: a number outside a range harms nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from retrain.contract import Cell, Feature
from retrain.model.columns import CellRefused, Columns, columns_of
from serving.contract import BlockError


class Unanswerable(ValueError):
    """A block that is answered with an error."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.error = BlockError(status=status, detail=detail)


def columns_of_block(
    cells: Mapping[str, Sequence[Cell]], features: Sequence[Feature], *, max_rows: int
) -> Columns:
    """Return one array for each feature. An optional feature without a column is missing.

    Raises:
        Unanswerable: 400 when a column is unknown, missing, of another length or type.
            413 when the block has too many rows.
    """
    rows = _rows(cells, max_rows)
    _check_names(cells, features)
    missing: Sequence[Cell] = [None] * rows
    complete = {feature.name: cells.get(feature.name, missing) for feature in features}
    try:
        return columns_of(features, complete)
    except CellRefused as refusal:
        raise Unanswerable(400, str(refusal)) from refusal


def _check_names(cells: Mapping[str, Sequence[Cell]], features: Sequence[Feature]) -> None:
    names = [feature.name for feature in features]
    if unknown := sorted(cells.keys() - set(names)):
        takes = f"this model takes {', '.join(names)}"
        raise Unanswerable(400, f"unknown columns: {', '.join(unknown[:5])}; {takes}")
    for feature in features:
        column = cells.get(feature.name)
        if feature.required and (column is None or None in column):
            where = "" if column is None else f" in row {list(column).index(None)}"
            raise Unanswerable(400, f"column {feature.name} is required and missing{where}")


def _rows(cells: Mapping[str, Sequence[Cell]], max_rows: int) -> int:
    lengths = {len(column) for column in cells.values()}
    if len(lengths) > 1:
        some = ", ".join(f"{name} {len(column)}" for name, column in list(cells.items())[:8])
        raise Unanswerable(400, f"columns have different lengths: {some}")
    rows = lengths.pop() if lengths else 0
    if rows == 0:
        raise Unanswerable(400, "the block has no rows")
    if rows > max_rows:
        most = f"at most {max_rows} are answered at once: send several blocks"
        raise Unanswerable(413, f"the block has {rows} rows, {most}")
    return rows
