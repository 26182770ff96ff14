"""One verdict from start to end: download both models, score the test rows, judge, record."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from promote.contract import Release
from promote.errors import (
    ArtifactNotFound,
    InvalidArtifact,
    InvalidName,
    RowsNotFound,
    RowsRefused,
    RowsUnavailable,
    VersionNotFound,
)
from promote.evidence.gathering import SplitName, gather
from promote.evidence.port import Judged
from promote.evidence.record import figures, record
from promote.evidence.scoring import Contender, UnusableModel
from promote.gate.evidence import Evidence, Faulty, Subject
from promote.gate.judge import judge
from promote.registry.port import ModelRegistry, ModelVersion
from retrain.contract import Snapshot
from retrain.errors import MissingColumn, PartitionCorrupt, PartitionMissing, RetrainError
from retrain.snapshot.snapshot import read_split
from retrain.spec.model_file import GatePolicy


@dataclass(frozen=True)
class EvidenceJudge:
    """The judge of `port.py` that scores both models on the challenger's test rows."""

    registry: ModelRegistry

    def __call__(
        self,
        challenger: ModelVersion,
        champion: Release | None,
        policy: GatePolicy,
        *,
        had_release: bool,
    ) -> Judged:
        """Return the verdict; see `Judge`."""
        with tempfile.TemporaryDirectory(prefix="ratchet-judge-") as folder:
            evidence = self._evidence(
                Path(folder), challenger, champion, policy, had_release=had_release
            )
        verdict = judge(evidence, policy)
        return Judged(verdict, record(evidence, verdict), figures(verdict))

    def _evidence(
        self,
        folder: Path,
        challenger: ModelVersion,
        champion: Release | None,
        policy: GatePolicy,
        *,
        had_release: bool,
    ) -> Faulty | Evidence:
        old = None
        try:
            new = self._contender(folder / "challenger", challenger, challenger.model_digest)
            if champion is not None:
                version = self.registry.version(champion.model, champion.version)
                old = self._contender(folder / "champion", version, champion.model_digest)
        except (ArtifactNotFound, InvalidArtifact, InvalidName, VersionNotFound) as fault:
            return Faulty(_subject(challenger, champion), (str(fault),))
        return gather(challenger.model, new, old, policy, had_release=had_release, read=_read)

    def _contender(self, folder: Path, version: ModelVersion, model_digest: str) -> Contender:
        folder.mkdir()
        snapshot = self.registry.snapshot(version)
        self.registry.download_model_folder(version, folder)
        return Contender(version.version, folder, model_digest, snapshot)


def _subject(challenger: ModelVersion, champion: Release | None) -> Subject:
    return Subject(
        model=challenger.model,
        kind="first" if champion is None else "change",
        challenger=challenger.version,
        champion=None if champion is None else champion.version,
        snapshot_id=challenger.snapshot_id,
    )


def _read(snapshot: Snapshot, split: SplitName, columns: tuple[str, ...] | None) -> pa.Table:
    which = f"the {split} rows of snapshot {snapshot.snapshot_id[:19]}"
    try:
        return read_split(snapshot, getattr(snapshot, split), columns)
    except (PartitionCorrupt, MissingColumn) as error:  # a retry would read the same bytes
        raise UnusableModel(f"{which}: {error}") from error
    except PartitionMissing as error:
        raise RowsNotFound(f"asked for {which}: {error}") from error
    except (RetrainError, OSError) as error:
        if isinstance(error, OSError) or error.is_transient:
            raise RowsUnavailable(
                f"asked for {which}, which cannot be read now: {error}"
            ) from error
        raise RowsRefused(f"asked for {which}: {error}") from error
