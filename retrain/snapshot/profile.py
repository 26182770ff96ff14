"""What the columns of some rows hold: types, missing cells, ranges, how many values. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from retrain.snapshot.canonical_rows import TYPE_NAMES


@dataclass(frozen=True)
class ColumnProfile:
    """One column of canonical rows."""

    name: str
    type: str
    """text, integer, number, boolean, moment or date."""
    rows: int
    missing: int
    distinct: int
    """How many values there are besides missing ones."""
    lowest: object
    """None when all cells are missing, as for `highest`."""
    highest: object

    @property
    def missing_share(self) -> float:
        """From 0 to 1."""
        return self.missing / self.rows if self.rows else 0.0

    @property
    def is_unique(self) -> bool:
        """True when each row has a value of its own."""
        return self.missing == 0 and self.distinct == self.rows


def profile_of(rows: pa.Table) -> tuple[ColumnProfile, ...]:
    """Return the profile of each column, in the rows' order; the rows are canonical.

    >>> profile_of(pa.table({"size": [1.5, None, 3.0]}))[0].lowest
    1.5
    """
    return tuple(_column_profile(name, rows.column(name)) for name in rows.column_names)


def _column_profile(name: str, column: pa.ChunkedArray) -> ColumnProfile:
    kind = TYPE_NAMES[column.type]
    if kind == "number":  # NaN is missing too
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    extremes = pc.min_max(column).as_py()
    return ColumnProfile(
        name=name,
        type=kind,
        rows=len(column),
        missing=column.null_count,
        distinct=pc.count_distinct(column, mode="only_valid").as_py(),
        lowest=extremes["min"],
        highest=extremes["max"],
    )
