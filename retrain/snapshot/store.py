"""The store of weekly partitions, and its index of what was read when.

    <place>/partitions/2013-W27/<hex of the rows digest>.parquet
    <place>/index/<hex of the reading's digest>/2013-W27.json

A killed writer leaves nothing that counts, and two writers of the same rows do no harm. The index
saves reads of the source: without it a run reads every week again, and the names stay the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
from pydantic import AwareDatetime, ConfigDict, ValidationError

from retrain.contract import Contract, Digest, Partition, digest_of_bytes
from retrain.snapshot.files import files_of, root_uri
from retrain.snapshot.partitions import write_partition


class GroupSpan(Contract):
    """A group's rows within one week."""

    name: str
    first: AwareDatetime
    last: AwareDatetime
    rows: int


class ReadWeek(Contract):
    """An entry of the index: a week as a run read it, and what the cut of a window needs of it."""

    model_config = ConfigDict(extra="ignore")  # earlier versions wrote `file_digest`, too

    partition: Partition
    read_until: AwareDatetime
    """The `end` of the run that read it."""
    lowest_key: str | int
    highest_key: str | int
    groups: tuple[GroupSpan, ...]


@dataclass(frozen=True)
class PartitionStore:
    """A place that all runs of all models may share: a folder, or `s3://bucket/prefix`."""

    place: Path | str

    def write(self, week: str, rows: pa.Table) -> Partition:
        """Keep a week's rows; see `write_partition`."""
        return write_partition(self._root, week, rows)

    def remember(self, reading: Digest, read_week: ReadWeek) -> None:
        """Note in the index what a week held; `reading` names the query and the columns' parts.

        Raises:
            StoreUnavailable, StoreRefused: The place cannot be written.
        """
        content = read_week.to_bytes()
        uri = self._entry(reading, read_week.partition.week)
        files_of(uri).write(uri, digest_of_bytes(content).encode() + b"\n" + content)

    def recall(self, reading: Digest, week: str) -> ReadWeek | None:
        """Return what the index says of a week; None when it has no entry that counts.

        An entry does not count when it is damaged, when it lacks a field of this version, or when
        its partition is gone. The run then reads the week from the source again.

        Raises:
            StoreUnavailable, StoreRefused: The place cannot be read.
        """
        uri = self._entry(reading, week)
        try:
            digest, _, content = files_of(uri).read(uri).partition(b"\n")
        except FileNotFoundError:
            return None
        if digest.decode(errors="replace") != digest_of_bytes(content):
            return None
        try:
            read_week = ReadWeek.model_validate_json(content)
        except ValidationError:
            return None
        partition = read_week.partition.uri
        return read_week if files_of(partition).exists(partition) else None

    def _entry(self, reading: Digest, week: str) -> str:
        return f"{self._root}/index/{reading.removeprefix('sha256:')}/{week}.json"

    @cached_property
    def _root(self) -> str:
        return root_uri(self.place)
