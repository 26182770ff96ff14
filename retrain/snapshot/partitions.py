"""A partition's file: all rows of a week as Parquet, with the digest of each column inside.

The digest of the rows names the file, so a reader can prove what it reads.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from retrain.contract import Partition, canonical_json
from retrain.errors import PartitionCorrupt, PartitionMissing
from retrain.snapshot.canonical_rows import ColumnDigests, column_digests, rows_digest
from retrain.snapshot.files import files_of, place_of

_COLUMNS_KEY = b"ratchet_columns"
_COLUMN_DIGESTS = TypeAdapter(ColumnDigests)


def write_partition(root: str, week: str, rows: pa.Table) -> Partition:
    """Write a week's rows, unless the store has them already.

    Args:
        root: URI of the store.
        week: ISO week, `2013-W27`.
        rows: At least one row, in canonical types and order.

    Raises:
        StoreUnavailable, StoreRefused: The place cannot be written. It holds no half-written file.
    """
    columns = column_digests(rows)
    digest = rows_digest(columns, rows.num_rows)
    uri = f"{root}/partitions/{week}/{digest.removeprefix('sha256:')}.parquet"
    partition = Partition(week=week, uri=uri, rows_digest=digest, rows=rows.num_rows)
    if not _is_whole(partition):
        content = io.BytesIO()
        described = rows.replace_schema_metadata({_COLUMNS_KEY: canonical_json(columns)})
        pq.write_table(described, content, compression="lz4", write_statistics=False)
        files_of(uri).write(uri, content.getvalue())
    return partition


def read_partition(partition: Partition, columns: Sequence[str] | None = None) -> pa.Table:
    """Return a partition's rows, proven to be those that its digest names.

    Args:
        partition: Names the file.
        columns: Reads and proves these columns only; all when None.

    Raises:
        PartitionMissing: The file is not there.
        PartitionCorrupt: The file holds other rows. When a person has deleted the file, the next
            run reads the week from the source again.
        StoreUnavailable, StoreRefused: The file cannot be opened.
    """
    try:
        with (
            files_of(partition.uri).opened(partition.uri) as opened,
            pq.ParquetFile(opened) as file,
        ):
            schema = file.schema_arrow
            digests = _COLUMN_DIGESTS.validate_json((schema.metadata or {})[_COLUMNS_KEY])
            names = [name for name in schema.names if columns is None or name in columns]
            rows = file.read(names, use_threads=False).replace_schema_metadata(None)
    except FileNotFoundError as error:
        raise PartitionMissing(
            f"the snapshot names {place_of(partition.uri)}, which is not there;"
            " run the window again to read its rows from the source"
        ) from error
    except (pa.ArrowException, ValidationError, KeyError, OSError) as error:
        raise _corrupt(partition, f"it cannot be decoded ({error})") from error
    _prove(partition, digests, rows)
    return rows


def _prove(partition: Partition, digests: ColumnDigests, rows: pa.Table) -> None:
    """Raise unless the digests in the file give the partition's name and fit the columns read."""
    name = rows_digest(digests, partition.rows)
    if name != partition.rows_digest or rows.num_rows != partition.rows:
        raise _corrupt(partition, "it describes other rows")
    wrong = sorted(set(column_digests(rows)) - set(digests))
    if wrong:
        raise _corrupt(partition, f"the column `{wrong[0][0]}` has other values")


def _is_whole(partition: Partition) -> bool:
    try:
        read_partition(partition)
    except (PartitionMissing, PartitionCorrupt):
        return False
    return True


def _corrupt(partition: Partition, problem: str) -> PartitionCorrupt:
    return PartitionCorrupt(
        f"{place_of(partition.uri)} does not hold the rows {partition.rows_digest} of the week"
        f" {partition.week}: {problem}; delete the file and run the window again"
    )
