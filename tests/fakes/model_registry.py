"""Registered models, their runs and their files in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from promote.contract import check_model
from promote.errors import ArtifactNotFound, InvalidArtifact, ModelRegistryUnavailable
from promote.images.names import check_file_name
from promote.registry.port import ModelVersion, RegisteredModel, model_version, no_version
from retrain.contract import ModelCard, Snapshot

FIRST_CREATED_AT = datetime(2013, 7, 1, 6, 0, tzinfo=UTC)


@dataclass
class FakeModelRegistry:
    """A ModelRegistry without a server.

    Tests play retrain with `register`. `is_down` makes every call fail like an outage. `acts` lists
    the changes in order.
    """

    is_down: bool = False
    acts: list[str] = field(default_factory=list)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    """By run."""
    evidence: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    """By run and name."""
    lists: int = 0
    """How often all models were listed."""
    questions: int = 0
    """How often anything was asked, the lists included."""
    _versions: dict[tuple[str, int], ModelVersion] = field(default_factory=dict)
    _aliases: dict[tuple[str, str], int] = field(default_factory=dict)
    _folders: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    _snapshots: dict[str, bytes] = field(default_factory=dict)

    def register(
        self,
        model: str,
        folder: Mapping[str, bytes],
        *,
        snapshot: bytes | None,
        tags: Mapping[str, str],
    ) -> ModelVersion:
        """Play retrain: log a run with these files, and register its version as the challenger.

        Args:
            model: The model's name.
            folder: The files of the model folder.
            snapshot: The content of snapshot.json. None: the run has no such file.
            tags: The version's tags.
        """
        number = 1 + sum(1 for name, _ in self._versions if name == model)
        run_id = f"{len(self._versions):032x}"
        created_at = FIRST_CREATED_AT + timedelta(days=7 * len(self._versions))
        version = model_version(
            model,
            number,
            run_id=run_id,
            source=f"mlflow-artifacts:/1/{run_id}/artifacts/model",
            created_at=created_at,
            tags=tags,
        )
        self._versions[model, number] = version
        self._folders[run_id] = dict(folder)
        if snapshot is not None:
            self._snapshots[run_id] = snapshot
        self._aliases[model, "challenger"] = number
        return version

    def registered_models(self) -> dict[str, RegisteredModel]:
        """Every model that has a version."""
        self.lists += 1
        self._observe("any-model")
        return {
            model: RegisteredModel(
                challenger=self._aliases.get((model, "challenger")),
                champion=self._aliases.get((model, "champion")),
                newest=self._versions[model, number],
            )
            for model, number in sorted(self._versions)
        }

    def challenger(self, model: str) -> ModelVersion | None:
        """The version registered last."""
        return self._with_alias(model, "challenger")

    def champion(self, model: str) -> ModelVersion | None:
        """The version that `set_champion` named."""
        return self._with_alias(model, "champion")

    def version(self, model: str, number: int) -> ModelVersion:
        """One version."""
        self._observe(model)
        if (model, number) not in self._versions:
            raise no_version(
                model, number, sorted(there for name, there in self._versions if name == model)
            )
        return self._versions[model, number]

    def set_champion(self, model: str, number: int) -> None:
        """Move the alias."""
        self.version(model, number)
        self._aliases[model, "champion"] = number
        self.acts.append(f"champion of {model} is {number}")

    def drop_challenger(self, model: str, number: int) -> None:
        """Remove the alias, or move it to a newer version."""
        self._observe(model)
        if self._aliases.get((model, "challenger")) != number:
            return
        newest = max(version for name, version in self._versions if name == model)
        del self._aliases[model, "challenger"]
        if newest > number:
            self._aliases[model, "challenger"] = newest
        self.acts.append(f"challenger of {model} is no longer {number}")

    def tag(self, model: str, number: int, name: str, value: str | None) -> None:
        """Set or remove a tag."""
        version = self.version(model, number)
        tags = {key: kept for key, kept in version.tags.items() if key != name}
        if value is not None:
            tags[name] = value
        self._versions[model, number] = replace(version, tags=tags)
        self.acts.append(f"tag {name} of {model} {number}")

    def download_model_folder(self, version: ModelVersion, destination: Path) -> dict[str, bytes]:
        """The card and what it lists."""
        self._observe(version.model)
        content = self._file(version, "model.json")
        try:
            card = ModelCard.model_validate_json(content)
        except ValidationError as error:
            raise InvalidArtifact("model.json is no model card") from error
        names = [check_file_name(name) for name in sorted(card.files)]
        files = {"model.json": content} | {
            name: self._file(version, name) for name in names if name != "model.json"
        }
        for name, file in files.items():
            (destination / name).write_bytes(file)
        return files

    def snapshot(self, version: ModelVersion) -> Snapshot:
        """What the run saw."""
        self._observe(version.model)
        if version.run_id not in self._snapshots:
            raise ArtifactNotFound(f"run {version.run_id} has no snapshot.json")
        try:
            return Snapshot.model_validate_json(self._snapshots[version.run_id])
        except ValidationError as error:
            raise InvalidArtifact("snapshot.json is no snapshot") from error

    def log_evidence(self, version: ModelVersion, name: str, files: Mapping[str, bytes]) -> None:
        """Keep what the gate saw."""
        self._observe(version.model)
        kept = self.evidence.setdefault((version.run_id, check_file_name(name)), {})
        kept.update({check_file_name(file): content for file, content in files.items()})
        self.acts.append(f"evidence {name} of {version.model} {version.version}")

    def read_evidence(self, version: ModelVersion, name: str, file_name: str) -> bytes:
        """One file of what the gate saw."""
        self._observe(version.model)
        kept = self.evidence.get((version.run_id, check_file_name(name)), {})
        if check_file_name(file_name) not in kept:
            raise ArtifactNotFound(f"run {version.run_id} has no evidence/{name}/{file_name}")
        return kept[file_name]

    def log_metrics(self, version: ModelVersion, metrics: Mapping[str, float]) -> None:
        """Keep figures."""
        self._observe(version.model)
        self.metrics.setdefault(version.run_id, {}).update(metrics)

    def run_url(self, version: ModelVersion) -> str:
        """The run's page."""
        self._observe(version.model)
        return f"http://mlflow.test/#/experiments/1/runs/{version.run_id}?workflowType=machine_learning"

    def evidence_url(self, version: ModelVersion, name: str, file_name: str) -> str:
        """The page of one file of what the gate saw."""
        path = f"evidence/{check_file_name(name)}/{check_file_name(file_name)}"
        self._observe(version.model)
        return f"http://mlflow.test/#/experiments/1/runs/{version.run_id}/artifacts/{path}?workflowType=machine_learning"

    def comparison_url(self, first: ModelVersion, second: ModelVersion) -> str:
        """Both runs side by side."""
        self._observe(first.model)
        runs = f"%5B%22{first.run_id}%22%2C%22{second.run_id}%22%5D"
        return f"http://mlflow.test/#/compare-runs?runs={runs}&experiments=%5B%221%22%5D&workflowType=machine_learning"

    def _with_alias(self, model: str, alias: str) -> ModelVersion | None:
        self._observe(model)
        number = self._aliases.get((model, alias))
        return None if number is None else self._versions[model, number]

    def _file(self, version: ModelVersion, name: str) -> bytes:
        if name not in self._folders.get(version.run_id, {}):
            raise ArtifactNotFound(f"run {version.run_id} has no model/{name}")
        return self._folders[version.run_id][name]

    def _observe(self, model: str) -> None:
        check_model(model)
        self.questions += 1
        if self.is_down:
            raise ModelRegistryUnavailable("MLflow does not answer")
