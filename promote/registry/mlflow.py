"""The port `ModelRegistry` on an MLflow server.

MLflow reports a missing alias as INVALID_PARAMETER_VALUE. So aliases are read from the registered
model, which names its newest version too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from mlflow.entities import Metric

from promote.contract import check_model
from promote.errors import ArtifactNotFound, ModelRegistryRefused, VersionNotFound
from promote.images.names import check_file_name
from promote.registry.answers import asking, check_answer, parsed, registered_model_of, version_of
from promote.registry.pages import comparison_page, run_page
from promote.registry.port import ModelRegistry, ModelVersion, RegisteredModel, no_version
from retrain.contract import ModelCard, Snapshot
from retrain.runs.client import open_client, read_artifact

MODELS_PER_PAGE = 1000
"""The most that MLflow gives in one answer."""


def open_model_registry(tracking_url: str, *, public_url: str = "") -> ModelRegistry:
    """Return the registry behind an MLflow server; asks nothing.

    Args:
        tracking_url: Root of the server.
        public_url: Root of the server in links for people; empty: the same.

    Raises:
        ModelRegistryRefused: The URL is empty. The settings check the other addresses.
    """
    if not tracking_url:
        raise ModelRegistryRefused(
            "PROMOTE_TRACKING_URL is empty. Set the root of an MLflow server, "
            "such as http://127.0.0.1:5000."
        )
    return MlflowModelRegistry(
        tracking_url.rstrip("/"), public_url=(public_url or tracking_url).rstrip("/")
    )


class MlflowModelRegistry:
    """The port, which describes the methods, on one MLflow server."""

    def __init__(self, tracking_url: str, *, public_url: str) -> None:
        self._url = tracking_url
        self._public_url = public_url
        self._client = open_client(tracking_url)

    def registered_models(self) -> dict[str, RegisteredModel]:
        """All pages of MLflow's list."""
        models: dict[str, RegisteredModel] = {}
        page_token: str | None = None
        while page_token != "":
            with asking("the list of registered models"):
                page = self._client.search_registered_models(
                    max_results=MODELS_PER_PAGE, page_token=page_token
                )
            models |= {str(answer.name): registered_model_of(answer) for answer in page}
            page_token = str(page.token or "")
        if not models:  # some other server's answer `{}` reads as an empty list, too
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
            with asking(f"version {number} of {check_model(model)}"):
                return version_of(self._client.get_model_version(model, str(number)), model)
        except VersionNotFound as error:
            raise no_version(model, number, self._numbers(model)) from error

    def _numbers(self, model: str) -> list[int]:
        with asking(f"the versions of {model}"):
            versions = self._client.search_model_versions(f"name = '{model}'", max_results=10_000)
        return sorted(int(version.version) for version in versions)

    def set_champion(self, model: str, number: int) -> None:
        """Move the alias."""
        with asking(f"alias champion for version {number} of {check_model(model)}"):
            self._client.set_registered_model_alias(model, "champion", str(number))

    def drop_challenger(self, model: str, number: int) -> None:
        """Remove the alias; then give the alias to a version that was registered meanwhile."""
        registered = self._registered_model(check_model(model), f"alias challenger of {model}")
        if registered is None or registered.challenger != number:
            return
        with asking(f"to remove alias challenger of {model}"):
            self._client.delete_registered_model_alias(model, "challenger")
            newest = self._numbers(model)[-1]
            if newest > number:
                self._client.set_registered_model_alias(model, "challenger", str(newest))

    def tag(self, model: str, number: int, name: str, value: str | None) -> None:
        """Set or delete."""
        with asking(f"tag {name} for version {number} of {check_model(model)}"):
            if value is None:
                self._client.delete_model_version_tag(model, str(number), name)
            else:
                self._client.set_model_version_tag(model, str(number), name, value)

    def download_model_folder(self, version: ModelVersion, destination: Path) -> dict[str, bytes]:
        """The card first, then the files that it lists."""
        source = self._source(version)
        content = self._read(source, "model.json")
        what = f"model.json of version {version.version} of {version.model}"
        card = parsed(ModelCard, content, what)
        files = {"model.json": content}
        for name in sorted(check_file_name(name) for name in card.files):
            files[name] = files.get(name) or self._read(source, name)
        for name, content in files.items():
            (destination / name).write_bytes(content)
        return files

    def snapshot(self, version: ModelVersion) -> Snapshot:
        """The run's snapshot.json."""
        content = self._read(self._artifacts(version), "snapshot.json")
        return parsed(Snapshot, content, f"snapshot.json of run {version.run_id}")

    def log_evidence(self, version: ModelVersion, name: str, files: Mapping[str, bytes]) -> None:
        """Upload a folder."""
        with tempfile.TemporaryDirectory(prefix="ratchet-") as folder:
            for file_name, content in files.items():
                (Path(folder) / check_file_name(file_name)).write_bytes(content)
            with asking(f"evidence {name} of run {version.run_id}"):
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
        with asking(f"{len(metrics)} metrics of run {version.run_id}"):
            self._client.log_batch(
                version.run_id,
                metrics=[Metric(name, value, moment, 0) for name, value in metrics.items()],
            )

    def run_url(self, version: ModelVersion) -> str:
        """The run's page."""
        return run_page(self._public_url, self._run(version).experiment_id, version.run_id)

    def evidence_url(self, version: ModelVersion, name: str, file_name: str) -> str:
        """The page of one file of the run."""
        path = f"artifacts/evidence/{check_file_name(name)}/{check_file_name(file_name)}"
        experiment = self._run(version).experiment_id
        return run_page(self._public_url, experiment, f"{version.run_id}/{path}")

    def comparison_url(self, first: ModelVersion, second: ModelVersion) -> str:
        """Both runs side by side."""
        experiments = sorted({self._run(version).experiment_id for version in (first, second)})
        return comparison_page(self._public_url, experiments, [first.run_id, second.run_id])

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
            with asking(question):
                answer = self._client.get_registered_model(model)
        except VersionNotFound:
            return None
        check_answer(answer.name, model)
        return registered_model_of(answer)

    def _run(self, version: ModelVersion) -> Any:
        with asking(f"run {version.run_id}"):
            run = self._client.get_run(version.run_id).info
        check_answer(run.run_id, version.run_id)
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
        with asking(f"{name} in {folder}"):
            content = read_artifact(self._url, folder, name)
        if content is None:
            raise ArtifactNotFound(
                f"{folder} has no {name}. Perhaps the run was ended before it wrote this file. "
                "Run `retrain run` for its window again."
            )
        return content
