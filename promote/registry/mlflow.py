"""The port `ModelRegistry` on an MLflow server.

Two habits of MLflow decide how this file asks. A missing alias is reported as
INVALID_PARAMETER_VALUE, so aliases are read from the registered model. The client reads an empty
answer as an empty value, so each answer is compared with the question.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from mlflow.entities import Metric
from pydantic import ValidationError

from promote.contract import check_model
from promote.errors import (
    ArtifactNotFound,
    InvalidArtifact,
    ModelRegistryRefused,
    ModelRegistryUnavailable,
    PromoteError,
    VersionNotFound,
)
from promote.images.names import check_file_name
from promote.registry.port import (
    ModelRegistry,
    ModelVersion,
    RegisteredModel,
    model_version,
    no_version,
)
from retrain.contract import ModelCard, Snapshot
from retrain.runs.client import Meaning, open_client, read_artifact, translated

MODEL_TRAINING = "workflowType=machine_learning"
"""Part of each page's address: without it MLflow 3.17 opens pages for language models."""
MODELS_PER_PAGE = 1000
"""The most that MLflow gives in one answer."""


def open_model_registry(tracking_url: str, *, public_url: str = "") -> ModelRegistry:
    """Return the registry behind an MLflow server; asks nothing.

    Args:
        tracking_url: Root of the server, http or https.
        public_url: Root of the server in links for people; empty: the same.

    Raises:
        ModelRegistryRefused: The URL is no http address, or holds a password.
    """
    parts = urlsplit(tracking_url)
    if parts.username or parts.password:
        raise ModelRegistryRefused(
            "PROMOTE_TRACKING_URL contains a user or a password. "
            "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ModelRegistryRefused(
            "PROMOTE_TRACKING_URL should be the root of an MLflow server, such as http://127.0.0.1:5000."
        )
    return MlflowModelRegistry(
        tracking_url.rstrip("/"), public_url=(public_url or tracking_url).rstrip("/")
    )


class MlflowModelRegistry:
    """A ModelRegistry (see there) on an MLflow server."""

    def __init__(self, tracking_url: str, *, public_url: str) -> None:
        self._url = tracking_url
        self._public_url = public_url
        self._client = open_client(tracking_url)

    def registered_models(self) -> dict[str, RegisteredModel]:
        """All pages of MLflow's list."""
        models: dict[str, RegisteredModel] = {}
        page_token: str | None = None
        while page_token != "":
            with _asking("the list of registered models"):
                page = self._client.search_registered_models(
                    max_results=MODELS_PER_PAGE, page_token=page_token
                )
            models |= {str(answer.name): _registered_model(answer) for answer in page}
            page_token = str(page.token or "")
        if (
            not models
        ):  # the client also reads the answer `{}` of some other server as an empty list
            self._registered_model("any-model", "an answer of MLflow")
        return models

    def challenger(self, model: str) -> ModelVersion | None:
        """The alias of the registered model."""
        return self._with_alias(model, "challenger")

    def champion(self, model: str) -> ModelVersion | None:
        """The alias of the registered model."""
        return self._with_alias(model, "champion")

    def version(self, model: str, number: int) -> ModelVersion:
        """One version."""
        try:
            with _asking(f"version {number} of {check_model(model)}"):
                return _version(self._client.get_model_version(model, str(number)), model)
        except VersionNotFound as error:
            raise self._no_version(model, number, error) from error

    def _no_version(self, model: str, number: int, error: VersionNotFound) -> VersionNotFound:
        try:
            with _asking(f"the versions of {model}"):
                others = self._client.search_model_versions(f"name = '{model}'", max_results=1000)
        except PromoteError:
            return error  # the version is absent; only the list for the message is missing
        return no_version(model, number, (int(other.version) for other in others))

    def set_champion(self, model: str, number: int) -> None:
        """Move the alias."""
        with _asking(f"alias champion for version {number} of {check_model(model)}"):
            self._client.set_registered_model_alias(model, "champion", str(number))

    def drop_challenger(self, model: str, number: int) -> None:
        """Remove the alias; then give the alias to a version that was registered meanwhile."""
        challenger = self.challenger(model)
        if challenger is None or challenger.version != number:
            return
        with _asking(f"to remove alias challenger of {check_model(model)}"):
            self._client.delete_registered_model_alias(model, "challenger")
            versions = self._client.search_model_versions(f"name = '{model}'", max_results=10_000)
            newest = max((int(version.version) for version in versions), default=0)
            if newest > number:
                self._client.set_registered_model_alias(model, "challenger", str(newest))

    def tag(self, model: str, number: int, name: str, value: str | None) -> None:
        """Set or delete."""
        with _asking(f"tag {name} for version {number} of {check_model(model)}"):
            if value is None:
                self._client.delete_model_version_tag(model, str(number), name)
                return
            self._client.set_model_version_tag(model, str(number), name, value)

    def download_model_folder(self, version: ModelVersion, destination: Path) -> dict[str, bytes]:
        """The card first, then the files that it lists."""
        source = self._source(version)
        content = self._read(source, "model.json")
        try:
            card = ModelCard.model_validate_json(content)
        except ValidationError as error:
            raise InvalidArtifact(
                f"model.json of version {version.version} of {version.model} "
                f"is no model card: {error}"
            ) from error
        files = {"model.json": content}
        for name in sorted(check_file_name(name) for name in card.files):
            files[name] = files.get(name) or self._read(source, name)
        for name, content in files.items():
            (destination / name).write_bytes(content)
        return files

    def snapshot(self, version: ModelVersion) -> Snapshot:
        """The run's snapshot.json."""
        content = self._read(self._artifacts(version), "snapshot.json")
        try:
            return Snapshot.model_validate_json(content)
        except ValidationError as error:
            raise InvalidArtifact(
                f"snapshot.json of run {version.run_id} is no snapshot: {error}"
            ) from error

    def log_evidence(self, version: ModelVersion, name: str, files: Mapping[str, bytes]) -> None:
        """Upload a folder."""
        with tempfile.TemporaryDirectory(prefix="ratchet-") as folder:
            for file_name, content in files.items():
                (Path(folder) / check_file_name(file_name)).write_bytes(content)
            with _asking(f"evidence {name} of run {version.run_id}"):
                self._client.log_artifacts(
                    version.run_id, folder, f"evidence/{check_file_name(name)}"
                )

    def read_evidence(self, version: ModelVersion, name: str, file_name: str) -> bytes:
        """One file of the run's folder."""
        path = f"evidence/{check_file_name(name)}"
        return self._read(f"{self._artifacts(version)}/{path}", check_file_name(file_name))

    def log_metrics(self, version: ModelVersion, metrics: Mapping[str, float]) -> None:
        """Figures with the version's moment, so that a repeated call changes nothing."""
        moment = round(version.created_at.timestamp() * 1000)
        with _asking(f"{len(metrics)} metrics of run {version.run_id}"):
            self._client.log_batch(
                version.run_id,
                metrics=[Metric(name, value, moment, 0) for name, value in metrics.items()],
            )

    def run_url(self, version: ModelVersion) -> str:
        """The run's page."""
        return f"{self._run_page(version)}?{MODEL_TRAINING}"

    def evidence_url(self, version: ModelVersion, name: str, file_name: str) -> str:
        """The page of one file of the run."""
        folder = f"{self._run_page(version)}/artifacts/evidence/{check_file_name(name)}"
        return f"{folder}/{check_file_name(file_name)}?{MODEL_TRAINING}"

    def comparison_url(self, first: ModelVersion, second: ModelVersion) -> str:
        """Both runs side by side."""
        runs = _quoted([first.run_id, second.run_id])
        experiments = _quoted(
            sorted({str(self._run(version).experiment_id) for version in (first, second)})
        )
        query = f"runs={runs}&experiments={experiments}&{MODEL_TRAINING}"
        return f"{self._public_url}/#/compare-runs?{query}"

    def _run_page(self, version: ModelVersion) -> str:
        experiment = f"{self._public_url}/#/experiments/{self._run(version).experiment_id}"
        return f"{experiment}/runs/{version.run_id}"

    def _with_alias(
        self, model: str, alias: Literal["challenger", "champion"]
    ) -> ModelVersion | None:
        registered = self._registered_model(check_model(model), f"alias {alias} of {model}")
        if registered is None:
            return None
        number, newest = getattr(registered, alias), registered.newest
        if newest is not None and newest.version == number:
            return newest
        return None if number is None else self.version(model, number)

    def _registered_model(self, model: str, question: str) -> RegisteredModel | None:
        """Return a model; None when MLflow answered that there is none."""
        try:
            with _asking(question):
                answer = self._client.get_registered_model(model)
        except VersionNotFound:
            return None
        _check_answer(answer.name, model)
        return _registered_model(answer)

    def _run(self, version: ModelVersion) -> Any:
        with _asking(f"run {version.run_id}"):
            run = self._client.get_run(version.run_id).info
        _check_answer(run.run_id, version.run_id)
        return run

    def _artifacts(self, version: ModelVersion) -> str:
        return str(self._run(version).artifact_uri).rstrip("/")

    def _source(self, version: ModelVersion) -> str:
        """Return the address of the model folder, which must be inside the run's artifacts."""
        artifacts, source = self._artifacts(version), version.source
        inside = source.removeprefix(f"runs:/{version.run_id}/").removeprefix(f"{artifacts}/")
        parts = inside.strip("/").split("/")
        if inside == source or any(not part.replace(".", "") for part in parts):
            raise ModelRegistryRefused(
                f"The source of version {version.version} of {version.model} is {source}, "
                f"which is not below its run's artifacts ({artifacts}). "
                "Register it again with `retrain run`."
            )
        return f"{artifacts}/{'/'.join(parts)}"

    def _read(self, folder: str, name: str) -> bytes:
        with _asking(f"{name} in {folder}"):
            content = read_artifact(self._url, folder, name)
        if content is None:
            raise ArtifactNotFound(
                f"{folder} has no {name}. Perhaps the run was ended before it wrote this file. "
                "Run `retrain run` for its window again."
            )
        return content


def _version(answer: Any, model: str) -> ModelVersion:
    _check_answer(answer.name, model)
    created_at = datetime.fromtimestamp(answer.creation_timestamp / 1000, UTC)
    return model_version(
        model,
        int(answer.version),
        run_id=str(answer.run_id),
        source=str(answer.source),
        created_at=created_at,
        tags=answer.tags,
    )


def _registered_model(answer: Any) -> RegisteredModel:
    aliases = {alias: int(number) for alias, number in answer.aliases.items()}
    versions = sorted(answer.latest_versions, key=lambda version: int(version.version))
    try:
        newest = _version(versions[-1], answer.name) if versions else None
    except InvalidArtifact:  # another team's model, or a version that a person registered
        newest = None
    return RegisteredModel(aliases.get("challenger"), aliases.get("champion"), newest)


def _check_answer(answer: str, question: str) -> None:
    """Raise when the answer is about another thing than the question."""
    if answer != question:
        raise ModelRegistryUnavailable(
            f"asked about {question!r}, the answer was about {answer!r}. "
            "Is PROMOTE_TRACKING_URL the root of an MLflow server?"
        )


def _quoted(names: list[str]) -> str:
    return quote("[" + ",".join(f'"{name}"' for name in names) + "]", safe="")


def _asking(question: str) -> AbstractContextManager[None]:
    return translated(partial(_error, question))


def _error(question: str, meaning: Meaning, message: str) -> PromoteError:
    asked, answer = f"asked MLflow for {question}", message.partition("\n")[0][:300]
    if meaning == "absence":
        return VersionNotFound(f"{asked}: {answer}. See the model's page in MLflow.")
    if meaning == "refusal":
        return ModelRegistryRefused(
            f"{asked}, which it refused: {answer}. "
            "See PROMOTE_TRACKING_URL, or the rights of MLFLOW_TRACKING_USERNAME."
        )
    return ModelRegistryUnavailable(
        f"{asked}, without an answer: {answer}. See that MLflow runs at PROMOTE_TRACKING_URL."
    )
