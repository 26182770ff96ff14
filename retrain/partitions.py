"""The store of weekly partitions: immutable Parquet files named by the digest of their rows, and an index of what was read when.

    <folder>/partitions/2013-W27/<hex of the rows digest>.parquet
    <folder>/index/<hex of the query digest>/2013-W27.json

A file appears under its name only when it is whole (written beside it, then renamed), so a killed writer leaves at most a `.writing-…` file, and two writers of the same rows are harmless.
The index saves reading; a snapshot's meaning never depends on it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from retrain.contract import Contract, Partition, canonical_json
from retrain.errors import PartitionCorrupt, PartitionMissing, StoreUnavailable
from retrain.rows import ColumnDigests, column_digests, rows_digest

_COLUMNS_KEY = b"ratchet_columns"
_COLUMN_DIGESTS = TypeAdapter(ColumnDigests)


class Remembered(Contract):
    """An entry of the index: a partition, and the `end` of the run that read its rows from the source."""

    partition: Partition
    read_until: AwareDatetime


@dataclass(frozen=True)
class PartitionStore:
    """A folder that every run of every model may share."""

    folder: Path

    def write(self, week: str, rows: pa.Table) -> Partition:
        """Keep a week's rows, which are in canonical types and order; rows that are kept already stay as they are.

        Raises:
            StoreUnavailable: The folder cannot be written; nothing half-written is left under the partition's name.
        """
        columns = column_digests(rows)
        digest = rows_digest(columns, rows.num_rows)
        path = self.folder.absolute() / "partitions" / week / f"{digest.removeprefix('sha256:')}.parquet"
        partition = Partition(week=week, uri=path.as_uri(), rows_digest=digest, rows=rows.num_rows)
        if not _is_whole(partition):
            described = rows.replace_schema_metadata({_COLUMNS_KEY: canonical_json(columns)})
            with _appearing_whole(path) as file:
                pq.write_table(described, file, compression="zstd", compression_level=1, write_statistics=False)
        return partition

    def remember(self, query_digest: str, remembered: Remembered) -> None:
        """Note in the index which rows a week had when it was read.

        Raises:
            StoreUnavailable: The folder cannot be written.
        """
        with _appearing_whole(self._index_file(query_digest, remembered.partition.week)) as file:
            file.write(canonical_json(remembered.model_dump(mode="json")))

    def recall(self, query_digest: str, week: str) -> Remembered | None:
        """Return what the index says of a week; None when it has no entry, or one that is not whole or whose file is gone."""
        try:
            remembered = Remembered.model_validate_json(self._index_file(query_digest, week).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        except OSError as error:
            raise StoreUnavailable(f"the snapshot store {self.folder} cannot be read: {error}") from error
        return remembered if _path_of(remembered.partition).exists() else None

    def _index_file(self, query_digest: str, week: str) -> Path:
        return self.folder / "index" / query_digest.removeprefix("sha256:") / f"{week}.json"


def read_partition(partition: Partition, columns: Sequence[str] | None = None) -> pa.Table:
    """Return a partition's rows, or those columns of them, proven to be what its digest names.

    Raises:
        PartitionMissing: The file is not there.
        PartitionCorrupt: Its rows are not those that the digest names; delete it, and the next run reads the week from the source again.
        StoreUnavailable: The file cannot be opened.
    """
    path = _path_of(partition)
    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            said = _COLUMN_DIGESTS.validate_json((file.schema_arrow.metadata or {})[_COLUMNS_KEY])
            names = [name for name in file.schema_arrow.names if columns is None or name in columns]
            rows = file.read(names, use_threads=False).replace_schema_metadata(None)
    except FileNotFoundError as error:
        raise PartitionMissing(
            f"the snapshot names {path}, which is not there; run `retrain run` for its window again to read the rows from the source"
        ) from error
    except (pa.ArrowException, ValidationError, KeyError, OSError) as error:
        if isinstance(error, PermissionError):
            raise StoreUnavailable(f"{path} cannot be opened: {error}") from error
        raise _corrupt(partition, f"it cannot be decoded ({error})") from error
    _prove(partition, said, rows)
    return rows


def _prove(partition: Partition, said: ColumnDigests, rows: pa.Table) -> None:
    """The digests in the file add up to the partition's name, and the columns read have those digests."""
    if rows_digest(said, partition.rows) != partition.rows_digest or rows.num_rows != partition.rows:
        raise _corrupt(partition, "it describes other rows")
    wrong = sorted(set(column_digests(rows)) - set(said))
    if wrong:
        raise _corrupt(partition, f"the column `{wrong[0][0]}` has other values")


def _corrupt(partition: Partition, found: str) -> PartitionCorrupt:
    return PartitionCorrupt(
        f"{_path_of(partition)} does not hold the rows {partition.rows_digest} of the week {partition.week}: {found}; delete the file and run the window again"
    )


def _is_whole(partition: Partition) -> bool:
    try:
        read_partition(partition)
    except (PartitionMissing, PartitionCorrupt):
        return False
    return True


def _path_of(partition: Partition) -> Path:
    return Path(url2pathname(urlsplit(partition.uri).path))


@contextmanager
def _appearing_whole(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write that takes its name only when all of it is on disk."""
    writing = path.with_name(f".writing-{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        writing.replace(path)
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be written: {error}; nothing was left under that name") from error
    finally:
        writing.unlink(missing_ok=True)
