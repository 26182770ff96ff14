"""Rows that stream in any order, laid out by week in files without a name.

A week is in memory when it is asked for, and the span never is. The files are in TMPDIR. They
have no name, so nothing is left of them when the process is killed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from tempfile import TemporaryFile, gettempdir
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc

from retrain.snapshot.canonical_rows import MOMENT
from retrain.snapshot.files import folder_error
from retrain.snapshot.window import Window, week_bounds, week_of

_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")


class RowsByWeek:
    """Canonical rows of a span. Use it as a context manager, which frees the files."""

    def __init__(self, event_time: str) -> None:
        self._event_time = event_time
        self._open = ExitStack()
        self._weeks: dict[str, tuple[IO[bytes], pa.RecordBatchStreamWriter]] = {}

    def __enter__(self) -> RowsByWeek:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # a full disk again: it would hide the error that matters
            self._open.close()

    def add(self, rows: pa.Table) -> None:
        """Lay out some rows.

        Raises:
            StoreUnavailable, StoreRefused: TMPDIR has no room, or may not be written.
        """
        with _errors_translated():
            for week, part in _parts(rows, self._event_time):
                self._writer(week, rows.schema).write_table(part)

    def take(self, week: str) -> pa.Table | None:
        """Return all rows of a week and free its file; None when it has no rows."""
        if week not in self._weeks:
            return None
        file, writer = self._weeks.pop(week)
        with file, _errors_translated():
            writer.close()
            file.seek(0)
            return pa.ipc.open_stream(file).read_all()

    def _writer(self, week: str, schema: pa.Schema) -> pa.RecordBatchStreamWriter:
        if week not in self._weeks:
            file = self._open.enter_context(TemporaryFile())  # noqa: SIM115 - `_open` closes it
            self._weeks[week] = file, pa.ipc.new_stream(file, schema, options=_COMPRESSED)
        return self._weeks[week][1]


def inside(moments: pa.ChunkedArray, span: Window) -> pa.ChunkedArray:
    """Say for each moment whether the span holds it."""
    return pc.and_(
        pc.greater_equal(moments, pa.scalar(span.start, MOMENT)),
        pc.less(moments, pa.scalar(span.end, MOMENT)),
    )


def _parts(rows: pa.Table, event_time: str) -> Iterator[tuple[str, pa.Table]]:
    """Yield the rows of each week. A source often sends one week after another."""
    while rows.num_rows:
        moments = rows.column(event_time)
        week = week_of(pc.min(moments).as_py())
        here = inside(moments, week_bounds(week))
        if pc.all(here).as_py():
            yield week, rows
            return
        yield week, rows.filter(here)
        rows = rows.filter(pc.invert(here))


@contextmanager
def _errors_translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        advice = "; make room, or set TMPDIR to a folder with room, and run again"
        raise folder_error(f"{gettempdir()} cannot be written", error, advice) from error
