"""One verdict from start to end: what the registry and main name is fetched, scored, judged, and turned into the files that the run keeps."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from promote.contract import Release, Verdict
from promote.errors import (
    ArtifactNotFound,
    InvalidArtifact,
    InvalidName,
    PromoteError,
    RowsNotFound,
    RowsRefused,
    RowsUnavailable,
    VersionNotFound,
)
from promote.registry.port import ModelRegistry, ModelVersion
from retrain.errors import MissingColumn, PartitionCorrupt, PartitionMissing, RetrainError
from retrain.spec.model_file import GatePolicy

if TYPE_CHECKING:
    from promote.evidence.gathering import Contender


@dataclass(frozen=True)
class Judged:
    """A verdict and what goes with it to the challenger's run."""

    verdict: Verdict
    files: Mapping[str, bytes]
    """By name, `verdict.json` among them."""
    figures: Mapping[str, float]


class Judge(Protocol):
    """Judges a challenger against what main names."""

    def __call__(
        self,
        challenger: ModelVersion,
        champion: Release | None,
        policy: GatePolicy,
        *,
        had_release: bool,
    ) -> Judged:
        """Return the verdict; a fault of the evidence is one.

        Raises:
            promote.errors.Unavailable: The evidence could not be had now.
        """


class EvidenceJudge:
    """The judge that scores both models; its libraries are loaded with the first call."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry

    def __call__(
        self,
        challenger: ModelVersion,
        champion: Release | None,
        policy: GatePolicy,
        *,
        had_release: bool,
    ) -> Judged:
        """Return the verdict."""
        from promote.evidence import record  # noqa: PLC0415 - scipy, pyarrow and matplotlib take seconds
        from promote.gate.judge import judge  # noqa: PLC0415 - scipy, pyarrow and matplotlib take seconds

        with tempfile.TemporaryDirectory(prefix="ratchet-judge-") as folder:
            evidence = self._evidence(
                Path(folder), challenger, champion, policy, had_release=had_release
            )
        verdict = judge(evidence, policy)
        files = {
            path.rpartition("/")[2]: content
            for path, content in record.record(evidence, verdict).items()
        }
        return Judged(verdict, files, record.figures(verdict))

    def _evidence(
        self,
        folder: Path,
        challenger: ModelVersion,
        champion: Release | None,
        policy: GatePolicy,
        *,
        had_release: bool,
    ) -> Any:
        from promote.evidence.gathering import gather  # noqa: PLC0415 - see above

        try:
            new = self._contender(folder / "challenger", challenger, challenger.model_digest)
            old = None
            if champion is not None:
                old = self._contender(
                    folder / "champion",
                    self._registry.version(champion.model, champion.version),
                    champion.model_digest,
                )
        except (ArtifactNotFound, InvalidArtifact, InvalidName, VersionNotFound) as fault:
            return _only_a_fault(challenger, champion, str(fault))
        return gather(challenger.model, new, old, policy, had_release=had_release, read=_read)

    def _contender(self, folder: Path, version: ModelVersion, model_digest: str) -> Contender:
        from promote.evidence.gathering import Contender  # noqa: PLC0415 - see above

        folder.mkdir()
        snapshot = self._registry.snapshot(version)
        self._registry.download_model_folder(version, folder)
        return Contender(version.version, folder, model_digest, snapshot)


def _read(snapshot: Any, split: str, columns: tuple[str, ...] | None) -> Any:
    from promote.evidence.scoring import UnusableModel  # noqa: PLC0415 - see above
    from retrain.snapshot.snapshot import read_split  # noqa: PLC0415 - see above

    try:
        return read_split(snapshot, getattr(snapshot, split), columns)
    except (PartitionCorrupt, MissingColumn) as error:
        raise UnusableModel(
            f"the {split} rows of snapshot {snapshot.snapshot_id[:19]}: {error}"
        ) from error  # no retry mends bytes: it becomes a verdict
    except (RetrainError, OSError) as error:
        raise _unreadable(snapshot.snapshot_id, split, error) from error


def _unreadable(snapshot_id: str, split: str, error: RetrainError | OSError) -> PromoteError:
    """Tell an outage from what a person has to mend first."""
    asked = f"asked for the {split} rows of snapshot {snapshot_id[:19]}"
    if isinstance(error, PartitionMissing):
        return RowsNotFound(f"{asked}: {error}")
    if isinstance(error, OSError) or error.is_transient:
        return RowsUnavailable(f"{asked}, which cannot be read now: {error}")
    return RowsRefused(f"{asked}: {error}")


def _only_a_fault(challenger: ModelVersion, champion: Release | None, fault: str) -> Any:
    from promote.gate.judge import Evidence  # noqa: PLC0415 - see above

    return Evidence(
        model=challenger.model,
        kind="first" if champion is None else "change",
        challenger=challenger.version,
        champion=None if champion is None else champion.version,
        snapshot_id=challenger.snapshot_id,
        keys=(),
        labels=(),
        groups=(),
        champion_scores=(),
        challenger_scores=(),
        faults=(fault,),
    )
