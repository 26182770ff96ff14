"""The model registry as promote sees it: the port, its values, and the choice by URL. `mlflow_registry` is what stands behind it.

Nothing that was fetched is trusted: whoever judges or ships a model folder checks its digests.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from promote.errors import ModelRegistryRefused, VersionNotFound
from retrain.contract import Snapshot

MLFLOW_CLIENT = {  # MLflow's client reads these from the environment only; what the operator set there stays
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",  # seconds; by default 120, longer than a pass over all models should take
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # by default 7, four minutes; the reconciler's next pass is the better retry
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


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
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RegisteredModel:
    """A registered model: its aliases and its newest version."""

    challenger: int | None
    """The version with alias `challenger`; None when no version has the alias."""
    champion: int | None
    """The version with alias `champion`; None when no version has the alias."""
    newest: ModelVersion | None
    """The version with the highest number; None when the model has no versions."""


class ModelRegistry(Protocol):
    """Versions, aliases, tags and files of registered models.

    Every method raises ModelRegistryUnavailable when nothing was observed, ModelRegistryRefused when the answer was no,
    and InvalidName before it asks.
    """

    def registered_models(self) -> Mapping[str, RegisteredModel]:
        """Return all registered models by name, in one call for each thousand of them.

        Models of other teams are in the answer too. A model that our login may not read is missing
        without an error: where its absence would decide an act, ask `challenger` about this model.
        The newest version is nearly always the challenger; ask `version` for any other version.
        """
        ...

    def challenger(self, model: str) -> ModelVersion | None:
        """Return the version with alias `challenger`; None when the registry answered that there is no such model or alias."""
        ...

    def champion(self, model: str) -> ModelVersion | None:
        """Return the version with alias `champion`; None as for `challenger`."""
        ...

    def version(self, model: str, number: int) -> ModelVersion:
        """Return a version.

        Raises:
            VersionNotFound: There is none.
        """
        ...

    def set_champion(self, model: str, number: int) -> None:
        """Let alias `champion` name a version.

        Raises:
            VersionNotFound: There is none.
        """
        ...

    def drop_challenger(self, model: str, number: int) -> None:
        """Take alias `challenger` from a version; a newer version that is registered gets it.

        Nothing happens when the alias names another version. MLflow has no compare-and-set: the
        newest version is looked up after the alias was removed, so that one registered in between
        does not lose its turn.
        """
        ...

    def tag(self, model: str, number: int, name: str, value: str) -> None:
        """Set a tag of a version, whatever it was before.

        Raises:
            VersionNotFound: There is none.
        """
        ...

    def download_model_folder(self, version: ModelVersion, destination: Path) -> dict[str, bytes]:
        """Write `model.json` and the files that it lists, and nothing else, to a folder that exists; return them by name.

        Raises:
            ArtifactNotFound: A file is not there.
            InvalidArtifact: `model.json` is no model card.
            InvalidName: `model.json` lists a file that would leave the folder.
        """
        ...

    def snapshot(self, version: ModelVersion) -> Snapshot:
        """Return the snapshot that the version's run saw.

        Raises:
            ArtifactNotFound: The run has no snapshot.json.
            InvalidArtifact: It is no snapshot.
        """
        ...

    def log_evidence(self, version: ModelVersion, name: str, files: Mapping[str, bytes]) -> None:
        """Write files to `evidence/<name>/` of the version's run; those of the same name are replaced."""
        ...

    def read_evidence(self, version: ModelVersion, name: str, file_name: str) -> bytes:
        """Return a file of `evidence/<name>/` of the version's run.

        Raises:
            ArtifactNotFound: There is none.
        """
        ...

    def log_metrics(self, version: ModelVersion, metrics: Mapping[str, float]) -> None:
        """Add figures to the version's run; the same figures twice are one."""
        ...

    def run_url(self, version: ModelVersion) -> str:
        """Return the page of the version's run, for people."""
        ...

    def evidence_url(self, version: ModelVersion, name: str, file_name: str) -> str:
        """Return the page that shows a file of `evidence/<name>/` of the version's run, for people."""
        ...

    def comparison_url(self, first: ModelVersion, second: ModelVersion) -> str:
        """Return the page that compares the runs of two versions, for people."""
        ...


def no_version(model: str, number: int, there_are: Iterable[int]) -> VersionNotFound:
    """Return the error that says which versions a model has instead; the newest ten of them."""
    newest = [str(one) for one in sorted(there_are)[-10:]]
    if not newest:
        advice = f"no version of {model} is registered. `retrain run {model}` registers one"
        return VersionNotFound(f"{model} has no version {number}: {advice}.")
    return VersionNotFound(
        f"{model} has no version {number}. Its newest versions are {', '.join(newest)}."
    )


def open_model_registry(tracking_url: str, *, public_url: str = "") -> ModelRegistry:
    """Return the registry behind an MLflow server; importing its client takes seconds.

    Args:
        tracking_url: Root of the server, http or https.
        public_url: Root of the server in links for people; empty: the same.

    Raises:
        ModelRegistryRefused: The URL is no http address, or carries a password, which would end up in logs.
    """
    parts = urlsplit(tracking_url)
    if parts.username or parts.password:
        raise ModelRegistryRefused(
            "PROMOTE_TRACKING_URL carries a user or password. Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ModelRegistryRefused(
            "PROMOTE_TRACKING_URL should be the root of an MLflow server, such as http://127.0.0.1:5000."
        )
    for name, value in MLFLOW_CLIENT.items():
        os.environ.setdefault(name, value)
    from promote.registry.mlflow import MlflowModelRegistry  # noqa: PLC0415 - takes seconds, and reads the lines above

    return MlflowModelRegistry(
        tracking_url.rstrip("/"), public_url=(public_url or tracking_url).rstrip("/")
    )
