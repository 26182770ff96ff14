"""The port `Runs` on an MLflow server.

A run counts when MLflow says that it is finished. That status is written last, and a version is
written in one call with all of its tags. So a killed attempt leaves nothing that counts.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from pydantic import ValidationError

from retrain.contract import Snapshot
from retrain.errors import RetrainError, TrackingRefused, TrackingUnavailable
from retrain.runs.client import Meaning, one_try, open_client, read_artifact, translated
from retrain.runs.port import (
    NOTE,
    OPTIONAL_TAGS,
    REQUIRED_TAGS,
    VERSION_TAGS,
    FinishedRun,
    Record,
    RegisteredVersion,
    Rows,
)

CHALLENGER, CHAMPION = "challenger", "champion"


class MlflowRuns:
    """One MLflow server, and one model's runs and versions in it."""

    def __init__(self, url: str, model: str) -> None:
        self.url, self.model = url, model
        with self._translated():
            self._client = open_client(url)

    def check(self) -> None:
        """Search for one experiment."""
        with self._translated(), one_try():
            self._client.search_experiments(max_results=1)

    def champion_technique(self) -> str | None:
        """Read the alias from the model: MLflow reports a missing alias as a wrong parameter."""
        with self._translated():
            models = self._client.search_registered_models(f"name = '{self.model}'")
            version = models[0].aliases.get(CHAMPION) if models else None
            if version is None:
                return None
            champion = self._client.get_model_version(self.model, version)
            technique: str | None = champion.tags.get("technique")
            return technique

    def finished_run(self, identity: str) -> FinishedRun | None:
        """Search by the tag `run_identity`, oldest run first."""
        query = f"tags.run_identity = '{identity}' AND attributes.status = 'FINISHED'"
        with self._translated():
            for run in self._runs(query):
                tags = run.data.tags
                if tags.keys() >= REQUIRED_TAGS:
                    return FinishedRun(run.info.run_id, tags["technique"], tags["model_digest"])
            return None

    def last_snapshot(self, plan_digest: str) -> tuple[RegisteredVersion, Snapshot] | None:
        """Ask the run of each version for its plan, newest version first."""
        with self._translated():
            for version in self._versions():
                run = self._client.get_run(version.run_id)
                if run.data.tags.get("plan_digest") == plan_digest:
                    content = read_artifact(self.url, run.info.artifact_uri, "snapshot.json")
                    snapshot = _snapshot(content or b"")
                    return None if snapshot is None else (version, snapshot)
            return None

    def registered(self, run_id: str) -> RegisteredVersion | None:
        """Search the model's versions."""
        with self._translated():
            return next((version for version in self._versions() if version.run_id == run_id), None)

    def record(
        self, parent: Record, children: Sequence[Record], rows: Sequence[Rows], folder: Path
    ) -> str:
        """Children, datasets and artifacts first; the parent's status last."""
        with self._translated():
            self._close_killed(parent.tags["run_identity"])
            run = self._open(parent, {})
            datasets = [
                DatasetInput(_dataset(split), [InputTag("mlflow.data.context", split.context)])
                for split in rows
            ]
            self._client.log_inputs(run.info.run_id, datasets)
            for child in children:
                self._close(self._open(child, {"mlflow.parentRunId": run.info.run_id}), child)
            self._client.log_artifacts(run.info.run_id, str(folder))
            self._close(run, parent)
            return str(run.info.run_id)

    def register(self, run_id: str, *, title: str) -> RegisteredVersion:
        """Register once; move the alias on every call."""
        version = self.registered(run_id) or self._register(run_id, title)
        with self._translated():
            if version.version == max(other.version for other in self._versions()):
                self._client.set_registered_model_alias(
                    self.model, CHALLENGER, str(version.version)
                )
        return version

    def _register(self, run_id: str, title: str) -> RegisteredVersion:
        with self._translated():
            self._create_model(title)
            run = self._client.get_run(run_id)
            with one_try():  # a second try after a lost answer would register a second version
                self._client.create_model_version(
                    self.model,
                    f"{run.info.artifact_uri}/model",
                    run_id,
                    tags={name: run.data.tags[name] for name in VERSION_TAGS}
                    | {name: tag for name, tag in run.data.tags.items() if name in OPTIONAL_TAGS},
                    description=run.data.tags[NOTE],
                    await_creation_for=0,
                )
        version = self.registered(run_id)
        if version is None:
            raise TrackingUnavailable(
                f"MLflow at {self.url} accepted a version of {self.model} but does not list it. "
                "Run again: the run is found and not trained twice."
            )
        return version

    def _create_model(self, title: str) -> None:
        try:
            self._client.create_registered_model(self.model, description=title)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _versions(self) -> list[RegisteredVersion]:
        """Newest first."""
        answer = self._client.search_model_versions(f"name = '{self.model}'", max_results=10_000)
        versions = [RegisteredVersion(int(version.version), version.run_id) for version in answer]
        return sorted(versions, key=lambda version: version.version, reverse=True)

    def _runs(self, query: str) -> list[Run]:
        experiment = self._client.get_experiment_by_name(self.model)
        if experiment is None:
            return []
        oldest_first = ["attributes.start_time ASC"]
        return list(
            self._client.search_runs([experiment.experiment_id], query, order_by=oldest_first)
        )

    def _close_killed(self, identity: str) -> None:
        note = "Killed before it finished. A later run with the same identity replaces it."
        query = f"tags.run_identity = '{identity}' AND attributes.status = 'RUNNING'"
        for run in self._runs(query):
            self._client.set_tag(run.info.run_id, NOTE, note)
            self._client.set_terminated(run.info.run_id, "KILLED")

    def _open(self, record: Record, tags: Mapping[str, str]) -> Run:
        return self._client.create_run(
            self._experiment(),
            start_time=record.started_ms,
            tags={**record.tags, **tags, "mlflow.user": _user()},
            run_name=record.name,
        )

    def _close(self, run: Run, record: Record) -> None:
        metrics = [
            Metric(name, value, record.ended_ms, 0) for name, value in record.metrics.items()
        ]
        params = [Param(name, str(value)) for name, value in record.params.items()]
        tags = [RunTag("not_eligible", record.problem[:5000])] if record.problem else []
        self._client.log_batch(run.info.run_id, metrics, params, tags)
        self._client.set_terminated(
            run.info.run_id, "FAILED" if record.problem else "FINISHED", record.ended_ms
        )

    def _experiment(self) -> str:
        experiment = self._client.get_experiment_by_name(self.model)
        if experiment is None:
            return str(self._client.create_experiment(self.model))
        return str(experiment.experiment_id)

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self._error)

    def _error(self, meaning: Meaning, message: str) -> RetrainError:
        if meaning == "outage":
            return TrackingUnavailable(
                f"MLflow at {self.url} does not answer ({message[:300]}). Start MLflow, or set "
                "RETRAIN_TRACKING_URL to its address, and run again. Nothing is half-registered."
            )
        return TrackingRefused(
            f"MLflow at {self.url} refused a request for {self.model} ({message[:500]}). "
            "See RETRAIN_TRACKING_URL, the certificate and the rights of MLFLOW_TRACKING_USERNAME."
        )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user has a number and no name
        return "unknown"


def _snapshot(content: bytes) -> Snapshot | None:
    """Return None for bytes that another version of Ratchet wrote, or that are damaged."""
    try:
        return Snapshot.model_validate_json(content)
    except ValidationError:
        return None


def _dataset(rows: Rows) -> Dataset:
    return Dataset(
        name=rows.name,
        digest=rows.digest,
        source_type="ratchet_snapshot",
        source=rows.source,
        profile=rows.profile,
    )
