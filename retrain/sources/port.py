"""What retrain asks of a warehouse: rows of a time range, as Arrow tables."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import pyarrow as pa

from retrain.spec.model_file import ModelSpec


class RowSource(Protocol):
    """Gives rows of a time range."""

    def rows(self, spec: ModelSpec, start: datetime, end: datetime) -> pa.Table:
        """Return all columns of the query's rows with `start` <= event time < `end`, in any order.

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
