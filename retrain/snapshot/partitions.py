"""The store of weekly partitions: immutable Parquet files named by the digest of their rows, and an index of what was read when.

    <place>/partitions/2013-W27/<hex of the rows digest>.parquet
    <place>/index/<hex of the reading's digest>/2013-W27.json

The place is a folder or `s3://bucket/prefix`. A file appears under its name only when it is whole, so a killed writer leaves nothing that counts, and two
writers of the same rows are harmless. The index saves reading: without it every week is read again, and gets the same names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from retrain.contract import Contract, Digest, Partition, canonical_json, digest_of_bytes
from retrain.errors import PartitionCorrupt, PartitionMissing
from retrain.snapshot.files import Files, files_of, place_of, root_uri
from retrain.snapshot.rows import ColumnDigests, column_digests, rows_digest

_COLUMNS_KEY = b"ratchet_columns"
_COLUMN_DIGESTS = TypeAdapter(ColumnDigests)


class GroupSpan(Contract):
    """A group's rows within one week."""

    name: str
    first: AwareDatetime
    last: AwareDatetime
    rows: int


class ReadWeek(Contract):
    """An entry of the index: a week as a run read it from the source, with what cutting a window needs to know of it."""

    partition: Partition
    file_digest: Digest
    """Of the Parquet file's bytes: far cheaper to check than its rows, but pyarrow's version decides them, so they name nothing."""
    read_until: AwareDatetime
    """The `end` of the run that read it."""
    lowest_key: str | int
    highest_key: str | int
    groups: tuple[GroupSpan, ...]


@dataclass(frozen=True)
class PartitionStore:
    """A place that every run of every model may share: a folder, or `s3://bucket/prefix`."""

    place: Path | str

    def write(self, week: str, rows: pa.Table, *, before: ReadWeek | None = None) -> Partition:
        """Keep a week's rows, which are in canonical types and order; rows that are kept already stay as they are.

        Args:
            week: ISO week, `2013-W27`.
            rows: At least one.
            before: What the index says of the week; saves looking into a file that has not changed.

        Raises:
            StoreUnavailable, StoreRefused: The place cannot be written; nothing half-written is left under the partition's name.
        """
        columns = column_digests(rows)
        digest = rows_digest(columns, rows.num_rows)
        uri = f"{self._root}/partitions/{week}/{digest.removeprefix('sha256:')}.parquet"
        partition = Partition(week=week, uri=uri, rows_digest=digest, rows=rows.num_rows)
        if not (
            before and before.partition == partition and _is_as_written(before)
        ) and not _is_whole(partition):
            described = rows.replace_schema_metadata({_COLUMNS_KEY: canonical_json(columns)})
            with self._files.appearing_whole(uri) as file:
                pq.write_table(described, file, compression="lz4", write_statistics=False)
        return partition

    def remember(self, reading: Digest, read_week: ReadWeek) -> None:
        """Note in the index what a week held when it was read; `reading` names the query and the columns' parts.

        Raises:
            StoreUnavailable, StoreRefused: The place cannot be written.
        """
        content = canonical_json(read_week.model_dump(mode="json"))
        with self._files.appearing_whole(
            self._index_file(reading, read_week.partition.week)
        ) as file:
            file.write(digest_of_bytes(content).encode() + b"\n" + content)

    def recall(self, reading: Digest, week: str) -> ReadWeek | None:
        """Return what the index says of a week; None when it has no entry that counts.

        An entry does not count when it is damaged, when another version of Ratchet wrote it with
        other fields, or when its partition is gone. The week is then read from the source again.

        Raises:
            StoreUnavailable, StoreRefused: The place cannot be read.
        """
        try:
            digest, _, content = self._files.read(self._index_file(reading, week)).partition(b"\n")
        except FileNotFoundError:
            return None
        if digest.decode(errors="replace") != digest_of_bytes(content):
            return None
        try:
            read_week = ReadWeek.model_validate_json(content)
        except ValidationError:
            return None
        return (
            read_week if files_of(read_week.partition.uri).exists(read_week.partition.uri) else None
        )

    def _index_file(self, reading: Digest, week: str) -> str:
        return f"{self._root}/index/{reading.removeprefix('sha256:')}/{week}.json"

    @cached_property
    def _root(self) -> str:
        return root_uri(self.place)

    @property
    def _files(self) -> Files:
        return files_of(self._root)


def file_digest(partition: Partition) -> Digest:
    """Return the digest of a partition's file.

    Raises:
        PartitionMissing: The file is not there.
        StoreUnavailable, StoreRefused: It cannot be read.
    """
    try:
        return files_of(partition.uri).digest(partition.uri)
    except FileNotFoundError as error:
        raise _missing(partition) from error


def prove_file(read_week: ReadWeek) -> None:
    """Raise PartitionCorrupt when a week's file is no longer the one that was written."""
    if file_digest(read_week.partition) != read_week.file_digest:
        raise _corrupt(read_week.partition, "its bytes have changed since it was written")


def read_partition(partition: Partition, columns: Sequence[str] | None = None) -> pa.Table:
    """Return a partition's rows, or those columns of them, proven to be what its digest names.

    Raises:
        PartitionMissing: The file is not there.
        PartitionCorrupt: Its rows are not those that the digest names; delete it, and the next run reads the week from the source again.
        StoreUnavailable, StoreRefused: The file cannot be opened.
    """
    try:
        with (
            files_of(partition.uri).opened(partition.uri) as opened,
            pq.ParquetFile(opened) as file,
        ):
            said = _COLUMN_DIGESTS.validate_json((file.schema_arrow.metadata or {})[_COLUMNS_KEY])
            names = [name for name in file.schema_arrow.names if columns is None or name in columns]
            rows = file.read(names, use_threads=False).replace_schema_metadata(None)
    except FileNotFoundError as error:
        raise _missing(partition) from error
    except (pa.ArrowException, ValidationError, KeyError, OSError) as error:
        raise _corrupt(partition, f"it cannot be decoded ({error})") from error
    _prove(partition, said, rows)
    return rows


def _prove(partition: Partition, said: ColumnDigests, rows: pa.Table) -> None:
    """The digests in the file add up to the partition's name, and the columns read have those digests."""
    if (
        rows_digest(said, partition.rows) != partition.rows_digest
        or rows.num_rows != partition.rows
    ):
        raise _corrupt(partition, "it describes other rows")
    wrong = sorted(set(column_digests(rows)) - set(said))
    if wrong:
        raise _corrupt(partition, f"the column `{wrong[0][0]}` has other values")


def _corrupt(partition: Partition, found: str) -> PartitionCorrupt:
    return PartitionCorrupt(
        f"{place_of(partition.uri)} does not hold the rows {partition.rows_digest} of the week {partition.week}: {found}; "
        "delete the file and run the window again"
    )


def _missing(partition: Partition) -> PartitionMissing:
    return PartitionMissing(
        f"the snapshot names {place_of(partition.uri)}, which is not there; run the window again to read its rows from the source"
    )


def _is_as_written(read_week: ReadWeek) -> bool:
    try:
        prove_file(read_week)
    except (PartitionMissing, PartitionCorrupt):
        return False
    return True


def _is_whole(partition: Partition) -> bool:
    try:
        read_partition(partition)
    except (PartitionMissing, PartitionCorrupt):
        return False
    return True
