"""The port `ModelRegistry` and its values. `promote.registry.mlflow` implements the port.

Nothing that was fetched is trusted: whoever judges or ships a model folder checks its digests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from promote.errors import InvalidArtifact, VersionNotFound
from retrain.contract import Snapshot

RETRAIN_TAGS = ("model_digest", "snapshot_id", "recipe_digest", "technique")
"""The tags that every version of `retrain run` has, and that promote needs."""


@dataclass(frozen=True)
class ModelVersion:
    """One registered version of a model."""

    model: str
    version: int
    run_id: str
    source: str
    """Where the model folder lies; below its run's artifacts."""
    created_at: datetime
    """Aware, UTC."""
    model_digest: str
    snapshot_id: str
    recipe_digest: str
    technique: str
    tags: Mapping[str, str]
    """All tags, also those that promote adds later: verdicts, and what people filter by."""


@dataclass(frozen=True)
class RegisteredModel:
    """A registered model: its aliases and its newest version."""

    challenger: int | None
    """The version with alias `challenger`; None when no version has the alias."""
    champion: int | None
    """The version with alias `champion`; None when no version has the alias."""
    newest: ModelVersion | None
    """The version with the highest number; None when `retrain run` did not register it."""


class ModelRegistry(Protocol):
    """Versions, aliases, tags and files of registered models.

    Every method raises ModelRegistryUnavailable for an outage, ModelRegistryRefused for a refusal,
    and InvalidName for a name that it does not ask about.
    """

    def registered_models(self) -> Mapping[str, RegisteredModel]:
        """Return all registered models by name, in one call for each thousand of them.

        Models of other teams are in the answer too. A model that our login may not read is missing
        without an error: where its absence would decide an act, ask `challenger` about this model.
        The newest version is nearly always the challenger; ask `version` for any other version.
        """

    def challenger(self, model: str) -> ModelVersion | None:
        """Return the version with alias `challenger`.

        None when the registry answered that the model or the alias does not exist.
        """

    def champion(self, model: str) -> ModelVersion | None:
        """Return the version with alias `champion`; None as for `challenger`."""

    def version(self, model: str, number: int) -> ModelVersion:
        """Return a version.

        Raises:
            VersionNotFound: The version does not exist.
            InvalidArtifact: `retrain run` did not register the version: it lacks tags.
        """

    def set_champion(self, model: str, number: int) -> None:
        """Give alias `champion` to a version.

        Raises:
            VersionNotFound: The version does not exist.
        """

    def drop_challenger(self, model: str, number: int) -> None:
        """Take alias `challenger` from a version, and give the alias to a newer version if any.

        Does nothing when another version has the alias. MLflow has no compare-and-set. So the
        newest version is read after the alias was removed: a version that is registered in between
        still becomes the challenger.
        """

    def tag(self, model: str, number: int, name: str, value: str | None) -> None:
        """Set or replace a tag of a version; None removes the tag.

        Raises:
            VersionNotFound: The version does not exist.
        """

    def download_model_folder(self, version: ModelVersion, destination: Path) -> dict[str, bytes]:
        """Write `model.json` and the files that it lists to a folder; return their bytes by name.

        Args:
            version: Whose model folder is read.
            destination: A folder that exists.

        Raises:
            ArtifactNotFound: A file is missing.
            InvalidArtifact: `model.json` is no model card.
            InvalidName: `model.json` lists a file outside the folder.
        """

    def snapshot(self, version: ModelVersion) -> Snapshot:
        """Return the snapshot that the version was trained on.

        Raises:
            ArtifactNotFound: The run has no snapshot.json.
            InvalidArtifact: The run's snapshot.json is no snapshot.
        """

    def log_evidence(self, version: ModelVersion, name: str, files: Mapping[str, bytes]) -> None:
        """Write or replace files in `evidence/<name>/` of the version's run."""

    def read_evidence(self, version: ModelVersion, name: str, file_name: str) -> bytes:
        """Return a file of `evidence/<name>/` of the version's run.

        Raises:
            ArtifactNotFound: The file does not exist.
        """

    def log_metrics(self, version: ModelVersion, metrics: Mapping[str, float]) -> None:
        """Add figures to the version's run; to add the same figures again changes nothing."""

    def run_url(self, version: ModelVersion) -> str:
        """Return the page of the version's run, for people."""

    def evidence_url(self, version: ModelVersion, name: str, file_name: str) -> str:
        """Return the page of a file in `evidence/<name>/` of the version's run, for people."""

    def comparison_url(self, first: ModelVersion, second: ModelVersion) -> str:
        """Return the page that compares the runs of two versions, for people."""


def model_version(
    model: str,
    number: int,
    *,
    run_id: str,
    source: str,
    created_at: datetime,
    tags: Mapping[str, str],
) -> ModelVersion:
    """Return a version as its tags describe it.

    Raises:
        InvalidArtifact: A tag is missing. `retrain run` writes all of them in one call.
    """
    if missing := [name for name in RETRAIN_TAGS if name not in tags]:
        raise InvalidArtifact(
            f"Version {number} of {model} lacks the tags {', '.join(missing)}: `retrain run` did "
            f"not register it. Run `retrain run {model}`, or remove the version's aliases."
        )
    fields = {name: tags[name] for name in RETRAIN_TAGS}
    return ModelVersion(model, number, run_id, source, created_at, **fields, tags=dict(tags))


def no_version(model: str, number: int, versions: Sequence[int]) -> VersionNotFound:
    """Return the error for a missing version; the message names the newest versions.

    >>> print(no_version("flight-delay", 9, [1, 2]))
    flight-delay has no version 9. Its newest versions: 1, 2.
    """
    newest = ", ".join(str(version) for version in versions[-10:])
    advice = newest or f"none. `retrain run {model}` registers the first"
    return VersionNotFound(f"{model} has no version {number}. Its newest versions: {advice}.")
