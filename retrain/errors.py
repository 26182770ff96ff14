"""What can go wrong in retrain, as one tree. Another try may mend only an outage (`transient`).

All others are refusals (a person must act) or faults (a file, a row or an input is wrong).
`retrain.cli` gives each error its exit code: an outage 75, wrong usage 2, anything else 1.

RetrainError
├── InvalidSpec                 a model's YAML has mistakes
├── UnknownModel                no YAML of that name
├── NaiveTimeError              a moment without a time zone
├── WindowTooEmpty              too few groups to train, validate and test
├── WindowInFuture              its rows are not there yet
├── SourceError
│   ├── UnknownSource           a name that RETRAIN_SOURCES lacks, or an address it cannot open
│   ├── SourceUnavailable       transient: locked, not there yet, not reachable
│   ├── SourceRefused           a permission, or something that is no warehouse
│   ├── QueryFailed             the source refuses the query
│   ├── MissingColumn           the query does not return what the YAML names
│   ├── BadColumn               a column has a type or values that a snapshot cannot hold
│   └── DuplicateKeys           a key names two rows
├── SnapshotError
│   ├── PartitionMissing        a manifest names a file that is not there
│   ├── PartitionCorrupt        a file's rows are not those its name promises
│   ├── StoreUnavailable        transient: full, or not reachable
│   └── StoreRefused            the store answers, and refuses: credentials, a bucket, a permission
├── TrainingError               no technique can be trained, or none may ship
│   └── OneClassLabel           every row of a split has the same label
├── ModelRefused                a model folder is not used
│   ├── ModelMissing            a file that should be in the folder is not
│   ├── ModelAltered            a file's digest is not the registered or released one
│   └── ModelUnusable           the bytes are as expected, and are no model that can answer
├── LockMissing                 the lock file that names the libraries is not there
├── TrackingUnavailable         transient: MLflow does not answer
└── TrackingRefused             MLflow answers, and refuses
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class RetrainError(Exception):
    """Root of all errors that retrain raises itself."""

    is_transient: ClassVar[bool] = False
    """True when the same call may succeed later."""


@dataclass(frozen=True, order=True)
class Mistake:
    """One thing wrong with a file, as an editor can jump to it."""

    path: str
    line: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.sentence}"


class InvalidSpec(RetrainError):
    """A model's YAML has mistakes; all of them, in the file's order."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes))
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


class UnknownModel(RetrainError):
    """No YAML of that name."""


class NaiveTimeError(RetrainError):
    """A moment without a time zone."""


class WindowTooEmpty(RetrainError):
    """Too few groups to train, validate and test."""


class WindowInFuture(RetrainError):
    """The window ends in the future: its rows are not there yet."""


class SourceError(RetrainError):
    """The warehouse did not give the rows asked for."""


class UnknownSource(SourceError):
    """A name that RETRAIN_SOURCES lacks, or an address that no backend opens."""


class SourceUnavailable(SourceError):
    """Locked, not there yet, or not reachable."""

    is_transient = True


class SourceRefused(SourceError):
    """A person must act before the source can be read: a permission, or a file of another kind."""


class QueryFailed(SourceError):
    """The source refuses the query; the message is the source's."""


class MissingColumn(SourceError):
    """The query does not return a column that the YAML names."""


class BadColumn(SourceError):
    """A column has a type or values that a snapshot cannot hold."""


class DuplicateKeys(SourceError):
    """A key names two rows."""


class SnapshotError(RetrainError):
    """A snapshot cannot be written or read."""


class PartitionMissing(SnapshotError):
    """A manifest names a file that is not there."""


class PartitionCorrupt(SnapshotError):
    """A file's rows are not those its name promises."""


class StoreUnavailable(SnapshotError):
    """The store cannot be written or read now: full, or not reachable."""

    is_transient = True


class StoreRefused(SnapshotError):
    """The store answers, and refuses; a person must act.

    Expired credentials, a missing bucket, a permission, a read-only folder.
    """


class TrainingError(RetrainError):
    """No technique can be trained, or none may ship."""


class OneClassLabel(TrainingError):
    """Every row of a split has the same label."""


class ModelRefused(RetrainError):
    """A model folder is not used."""


class ModelMissing(ModelRefused):
    """A file that should be in the model folder is not a readable regular file."""


class ModelAltered(ModelRefused):
    """A file's digest is not the one that was registered or released."""


class ModelUnusable(ModelRefused):
    """The bytes are as expected, and are no model that can answer."""


class LockMissing(RetrainError):
    """The lock file that names the libraries is not there."""


class TrackingUnavailable(RetrainError):
    """MLflow does not answer."""

    is_transient = True


class TrackingRefused(RetrainError):
    """MLflow answers, and refuses: a permission, a deleted experiment, a value it does not take."""
