"""MLflow as the model registry; the only file of promote that meets it, and the one place that translates its errors.

Two traps decide how it asks. A missing alias is reported as INVALID_PARAMETER_VALUE, so aliases are read from the registered model instead.
`MlflowClient.download_artifacts` reports any failure, an outage too, as RESOURCE_DOES_NOT_EXIST, so a file's absence is learned from a listing that worked.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from pydantic import ValidationError

from promote.errors import (
    ArtifactNotFound,
    InvalidArtifact,
    ModelRegistryRefused,
    ModelRegistryUnavailable,
    PromoteError,
    VersionNotFound,
)
from promote.images.names import check_file_name
from promote.registry.port import ModelVersion, RegisteredModel, no_version
from promote.release.manifest import check_model
from retrain.contract import ModelCard, Snapshot

MODEL_TRAINING = "workflowType=machine_learning"
"""Without it, behind the #, MLflow 3.17 opens its pages for traces of language models."""
MODELS_PER_PAGE = 1000
"""The most that MLflow gives in one answer."""
_REFUSED_CODES = {
    "ALREADY_EXISTS",
    "BAD_REQUEST",
    "CUSTOMER_UNAUTHORIZED",
    "INVALID_PARAMETER_VALUE",
    "NOT_IMPLEMENTED",
    "PERMISSION_DENIED",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_CONFLICT",
    "UNAUTHENTICATED",
}


class MlflowModelRegistry:
    """A ModelRegistry (see there) on an MLflow server."""

    def __init__(self, tracking_url: str, *, public_url: str) -> None:
        self._url = tracking_url
        self._public_url = public_url
        self._client = MlflowClient(tracking_url, tracking_url)

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
        """The version that retrain registered last."""
        return self._with_alias(model, "challenger")

    def champion(self, model: str) -> ModelVersion | None:
        """The version that was last seen healthy."""
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
            return error  # that the version is not there was observed; which there are was not
        return no_version(model, number, (int(other.version) for other in others))

    def set_champion(self, model: str, number: int) -> None:
        """Move the alias."""
        with _asking(f"alias champion for version {number} of {check_model(model)}"):
            self._client.set_registered_model_alias(model, "champion", str(number))

    def drop_challenger(self, model: str, number: int) -> None:
        """Remove the alias, then give it to a version that was registered meanwhile."""
        challenger = self.challenger(model)
        if challenger is None or challenger.version != number:
            return
        with _asking(f"to remove alias challenger of {check_model(model)}"):
            self._client.delete_registered_model_alias(model, "challenger")
            found = self._client.search_model_versions(f"name = '{model}'", max_results=10_000)
            newest = max((int(version.version) for version in found), default=0)
            if newest > number:
                self._client.set_registered_model_alias(model, "challenger", str(newest))

    def tag(self, model: str, number: int, name: str, value: str) -> None:
        """Set a tag."""
        with _asking(f"tag {name} for version {number} of {check_model(model)}"):
            self._client.set_model_version_tag(model, str(number), name, value)

    def download_model_folder(self, version: ModelVersion, destination: Path) -> dict[str, bytes]:
        """The card first, then what it lists."""
        source = self._source(version)
        content = self._download(source, "model.json", destination)
        try:
            card = ModelCard.model_validate_json(content)
        except ValidationError as error:
            raise InvalidArtifact(
                f"model.json of version {version.version} of {version.model} is no model card: {error}"
            ) from error
        names = [check_file_name(name) for name in sorted(card.files)]
        return {"model.json": content} | {
            name: self._download(source, name, destination)
            for name in names
            if name != "model.json"
        }

    def snapshot(self, version: ModelVersion) -> Snapshot:
        """What the run saw."""
        artifacts = str(self._run(version).artifact_uri)
        with tempfile.TemporaryDirectory(prefix="ratchet-") as folder:
            content = self._download(artifacts, "snapshot.json", Path(folder))
        try:
            return Snapshot.model_validate_json(content)
        except ValidationError as error:
            raise InvalidArtifact(
                f"snapshot.json of run {version.run_id} is no snapshot: {error}"
            ) from error

    def log_evidence(self, version: ModelVersion, name: str, files: Mapping[str, bytes]) -> None:
        """What the gate saw."""
        with tempfile.TemporaryDirectory(prefix="ratchet-") as folder:
            for file_name, content in files.items():
                (Path(folder) / check_file_name(file_name)).write_bytes(content)
            with _asking(f"evidence {name} of run {version.run_id}"):
                self._client.log_artifacts(
                    version.run_id, folder, f"evidence/{check_file_name(name)}"
                )

    def read_evidence(self, version: ModelVersion, name: str, file_name: str) -> bytes:
        """One file of what the gate saw."""
        folder = (
            f"{str(self._run(version).artifact_uri).rstrip('/')}/evidence/{check_file_name(name)}"
        )
        with tempfile.TemporaryDirectory(prefix="ratchet-") as destination:
            return self._download(folder, check_file_name(file_name), Path(destination))

    def log_metrics(self, version: ModelVersion, metrics: Mapping[str, float]) -> None:
        """Figures, dated as the version: so a repeated call writes what is there already."""
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
        """The page of one file of what the gate saw."""
        folder = f"{self._run_page(version)}/artifacts/evidence/{check_file_name(name)}"
        return f"{folder}/{check_file_name(file_name)}?{MODEL_TRAINING}"

    def comparison_url(self, first: ModelVersion, second: ModelVersion) -> str:
        """Both runs side by side."""
        runs = _quoted([first.run_id, second.run_id])
        experiments = _quoted(
            sorted({str(self._run(version).experiment_id) for version in (first, second)})
        )
        return f"{self._public_url}/#/compare-runs?runs={runs}&experiments={experiments}&{MODEL_TRAINING}"

    def _run_page(self, version: ModelVersion) -> str:
        return f"{self._public_url}/#/experiments/{self._run(version).experiment_id}/runs/{version.run_id}"

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

    def _source(self, version: ModelVersion) -> str:
        """Return where the model folder lies; never outside the run's artifacts, whatever somebody registered."""
        artifacts = str(self._run(version).artifact_uri).rstrip("/")
        inside = (
            version.source.removeprefix(f"runs:/{version.run_id}/")
            .removeprefix(f"{artifacts}/")
            .strip("/")
        )
        if inside == version.source.strip("/") or any(
            not part.replace(".", "") for part in inside.split("/")
        ):
            raise ModelRegistryRefused(
                f"version {version.version} of {version.model} has its source at {version.source}, which is not below its run's artifacts ({artifacts}). "
                "Register it again with `retrain run`."
            )
        return f"{artifacts}/{inside}"

    def _download(self, folder: str, name: str, destination: Path) -> bytes:
        """Return a file that lies directly below an artifact URI, and leave it in `destination`."""
        with _asking(f"{name} in {folder}"):
            present = mlflow.artifacts.list_artifacts(artifact_uri=folder, tracking_uri=self._url)
        if name not in {str(file.path).rpartition("/")[2] for file in present if not file.is_dir}:
            raise ArtifactNotFound(
                f"{folder} has no {name}. Was the run ended before it was written? Run `retrain run` for its window again."
            )
        with _asking(f"{name} in {folder}"):
            path = mlflow.artifacts.download_artifacts(
                artifact_uri=f"{folder}/{name}", dst_path=str(destination), tracking_uri=self._url
            )
        return Path(path).read_bytes()


def _version(found: Any, model: str) -> ModelVersion:
    _check_answer(found.name, model)
    created_at = datetime.fromtimestamp(found.creation_timestamp / 1000, UTC)
    return ModelVersion(
        model,
        int(found.version),
        str(found.run_id),
        str(found.source),
        created_at,
        dict(found.tags),
    )


def _registered_model(answer: Any) -> RegisteredModel:
    aliases = {alias: int(number) for alias, number in answer.aliases.items()}
    versions = [_version(version, answer.name) for version in answer.latest_versions]
    return RegisteredModel(
        challenger=aliases.get("challenger"),
        champion=aliases.get("champion"),
        newest=max(versions, key=lambda version: version.version, default=None),
    )


def _check_answer(found: str, asked: str) -> None:
    """Raise when the answer is about something else: the client takes an empty body for an empty object."""
    if found != asked:
        raise ModelRegistryUnavailable(
            f"asked about {asked!r}, the answer was about {found!r}. Is PROMOTE_TRACKING_URL the root of an MLflow server?"
        )


def _quoted(names: list[str]) -> str:
    return quote("[" + ",".join(f'"{name}"' for name in names) + "]", safe="")


@contextmanager
def _asking(question: str) -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        raise _translated(question, error.error_code, str(error)) from error
    except OSError as error:  # artifacts come through requests, whose errors are OSErrors
        status = getattr(getattr(error, "response", None), "status_code", None)
        raise _translated(
            question, "PERMISSION_DENIED" if status in (401, 403) else "", str(error)
        ) from error


def _translated(question: str, code: str, message: str) -> PromoteError:
    found = message.partition("\n")[0][:300]
    if code == "RESOURCE_DOES_NOT_EXIST":
        return VersionNotFound(
            f"asked MLflow for {question}: {found}. See the model's page in MLflow."
        )
    if code in _REFUSED_CODES:
        return ModelRegistryRefused(
            f"asked MLflow for {question}, which it refused: {found}. See the request, or the rights of MLFLOW_TRACKING_USERNAME."
        )
    return ModelRegistryUnavailable(
        f"asked MLflow for {question}, without an answer: {found}. See that it runs at PROMOTE_TRACKING_URL."
    )
