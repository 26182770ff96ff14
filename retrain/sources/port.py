"""What retrain asks of a warehouse: rows of a time range, as Arrow tables that stream."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Protocol

import pyarrow as pa

from retrain.spec.model_file import ModelSpec


class RowSource(Protocol):
    """Gives rows of a time range."""

    def rows(self, spec: ModelSpec, start: datetime, end: datetime) -> Iterator[pa.Table]:
        """Yield the query's rows with `start` <= event time < `end`, all columns, in any order.

        At least one table comes, so that a range without rows has columns. All tables have the
        same columns. The query runs once, when the first table is asked for.

        Raises:
            MissingColumn: The query does not return the event time.
            QueryFailed: The warehouse refuses the query.
            SourceUnavailable: A file of the query cannot be read now.
            SourceRefused: The warehouse may not read a file of the query.
        """


class Source(RowSource, Protocol):
    """An open warehouse."""

    def head(self, spec: ModelSpec, rows: int) -> pa.Table:
        """Return at most `rows` rows of the query.

        Raises:
            QueryFailed, SourceUnavailable, SourceRefused: As for `rows`.
        """


def tables_of(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """Yield a reader's batches as tables; one without rows when there is no batch.

    >>> schema = pa.schema({"x": pa.int64()})
    >>> [table.num_rows for table in tables_of(pa.RecordBatchReader.from_batches(schema, []))]
    [0]
    """
    batch = None
    for batch in reader:
        yield pa.Table.from_batches([batch])
    if batch is None:
        yield reader.schema.empty_table()
