"""The rows of a run in Arrow files of a scratch folder, one for each week and split.

Processes map the files instead of copying rows to each other. A category is a code and a
dictionary of its week.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class StoredRows:
    """Rows in files, in order. A value that costs nothing to send to another process."""

    files: tuple[Path, ...]
    num_rows: int

    def __add__(self, later: StoredRows) -> StoredRows:
        return StoredRows(self.files + later.files, self.num_rows + later.num_rows)

    def table(self) -> pa.Table:
        """Return the rows; the operating system loads what is read, once for all processes."""
        tables = [pa.ipc.open_file(pa.memory_map(str(file))).read_all() for file in self.files]
        return pa.concat_tables(tables)


def store_rows(
    folder: Path,
    weeks: Iterable[pa.Table],
    *,
    codes_of: frozenset[str],
    total: int,
    sample: int | None,
) -> StoredRows:
    """Write rows that come week by week; one week is in memory.

    Args:
        folder: Is made here.
        weeks: At least one.
        codes_of: The categories. A text column among them becomes codes.
        total: How many rows come.
        sample: Keep this many rows, evenly spaced from first to last; all when None.
    """
    folder.mkdir()
    chosen = None if sample is None or total <= sample else spaced_evenly(total, sample)
    files, count = [], 0
    for number, rows in enumerate(_sampled(weeks, chosen)):
        file = folder / f"{number:04d}.arrow"
        coded = _with_codes(rows, codes_of).combine_chunks()
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, coded.schema) as writer:
            writer.write_table(coded)
        files.append(file)
        count += coded.num_rows
    return StoredRows(tuple(files), count)


def table_of(rows: pa.Table | StoredRows) -> pa.Table:
    """Return rows as a table, wherever they are."""
    return rows.table() if isinstance(rows, StoredRows) else rows


def spaced_evenly(total: int, count: int) -> npt.NDArray[np.int64]:
    """Return `count` places of `total`, from first to last; always the same ones.

    >>> spaced_evenly(9, 3).tolist()
    [0, 4, 8]
    """
    return np.linspace(0, total - 1, count).round().astype(np.int64)


def evenly_spaced(rows: pa.Table, count: int) -> pa.Table:
    """Return `count` rows from first to last, or all when there are no more.

    >>> evenly_spaced(pa.table({"x": range(9)}), 3).column("x").to_pylist()
    [0, 4, 8]
    """
    return rows if rows.num_rows <= count else rows.take(spaced_evenly(rows.num_rows, count))


def _sampled(weeks: Iterable[pa.Table], chosen: npt.NDArray[np.int64] | None) -> Iterator[pa.Table]:
    start = 0
    for rows in weeks:
        if chosen is None:
            yield rows
            continue
        end = start + rows.num_rows
        first, last = np.searchsorted(chosen, [start, end])
        yield rows.take(chosen[first:last] - start)
        start = end


def _with_codes(rows: pa.Table, names: frozenset[str]) -> pa.Table:
    for index, field in enumerate(rows.schema):
        if field.name in names and field.type == pa.string():
            coded = pc.dictionary_encode(rows.column(index).combine_chunks())
            rows = rows.set_column(index, field.name, coded)
    return rows
