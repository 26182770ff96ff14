"""The only file of retrain that meets MLflow: finds a run by its identity, records a window's run, registers its model.

A run counts once MLflow says it is finished, which is the last thing written; a version is written in one call with all of its tags.
So a killed attempt leaves nothing that counts.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

from pydantic import ValidationError

from retrain.contract import ModelSchema, Snapshot
from retrain.errors import RetrainError, TrackingRefused, TrackingUnavailable
from retrain.runs.record import (
    NOTE,
    REQUIRED_TAGS,
    VERSION_TAGS,
    FinishedRun,
    Record,
    Registered,
    Rows,
)

for _name, _value in {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # mlflow's 7, at its pace, keep an outage secret for minutes; Airflow tries again
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # stdout and stderr are ours
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}.items():
    os.environ.setdefault(_name, _value)

import mlflow.artifacts  # noqa: E402 - reads the environment when it is imported
from mlflow import MlflowClient  # noqa: E402 - reads the environment when it is imported
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag  # noqa: E402 - as above
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES  # noqa: E402 - as above
from mlflow.exceptions import MlflowException  # noqa: E402 - as above
from mlflow.models import Model, ModelSignature  # noqa: E402 - as above
from mlflow.types import ColSpec, Schema  # noqa: E402 - as above
from requests import RequestException  # noqa: E402 - comes with mlflow
from requests.exceptions import InvalidURL, SSLError  # noqa: E402 - as above

CHALLENGER, CHAMPION = "challenger", "champion"
_OUTAGES = {
    "ABORTED",
    "DEADLINE_EXCEEDED",
    "INTERNAL_ERROR",
    "REQUEST_LIMIT_EXCEEDED",
    "RESOURCE_EXHAUSTED",
    "TEMPORARILY_UNAVAILABLE",
}
"""INTERNAL_ERROR is also what the client says when nobody answers. Each 429 is RESOURCE_EXHAUSTED."""
_OUR_MISTAKES = (SSLError, InvalidURL)
"""The client reports these as INTERNAL_ERROR too, but waiting mends neither."""
_WORTH_ANOTHER_TRY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS, *range(500, 600)}
"""Status codes that may be gone a little later."""


class Tracking:
    """One MLflow server and one model's runs and versions in it."""

    def __init__(self, url: str, model: str) -> None:
        self.url, self.model = url, model
        with self._translated():
            self._client = MlflowClient(tracking_uri=url, registry_uri=url)

    def check(self) -> None:
        """Return when MLflow answers.

        Raises:
            TrackingUnavailable: It does not; asked once, so that this takes no time.
            TrackingRefused: It refuses our login, or its address or certificate is wrong.
        """
        with self._translated(), _one_try():
            self._client.search_experiments(max_results=1)

    def champion_technique(self) -> str | None:
        """Return the technique of the version that production runs; None when there is none."""
        with self._translated():
            try:
                champion = self._client.get_model_version_by_alias(self.model, CHAMPION)
            except MlflowException as error:
                if error.error_code in {
                    "RESOURCE_DOES_NOT_EXIST",
                    "INVALID_PARAMETER_VALUE",
                }:  # no such model; no such alias
                    return None
                raise
            technique: str | None = champion.tags.get("technique")
            return technique

    def finished_run(self, identity: str) -> FinishedRun | None:
        """Return the first run that finished with this identity and that can be registered; None when there is none."""
        with self._translated():
            for run in self._runs(
                f"tags.run_identity = '{identity}' AND attributes.status = 'FINISHED'"
            ):
                tags = run.data.tags
                if tags.keys() >= REQUIRED_TAGS:
                    return FinishedRun(run.info.run_id, tags["technique"], tags["model_digest"])
            return None

    def last_snapshot(self, plan_digest: str) -> tuple[Registered, Snapshot] | None:
        """Return the newest version that the same plan made, with the snapshot it was trained on.

        None when there is none, or when its snapshot is lost or cannot be read: the window is trained then.
        """
        with self._translated():
            for version in self._versions():
                if self._client.get_run(version.run_id).data.tags.get("plan_digest") == plan_digest:
                    return self._with_snapshot(version)
            return None

    def _with_snapshot(self, version: Registered) -> tuple[Registered, Snapshot] | None:
        content = self._artifact(version.run_id, "snapshot.json")
        if content is None:
            return None
        try:
            return version, Snapshot.model_validate_json(content)
        except ValidationError:  # written by another version of Ratchet, or damaged
            return None

    def registered(self, run_id: str) -> Registered | None:
        """Return the version that this run's model is; None when it was not registered."""
        with self._translated():
            return next((version for version in self._versions() if version.run_id == run_id), None)

    def record(
        self, parent: Record, children: Sequence[Record], rows: Sequence[Rows], folder: Path
    ) -> str:
        """Write a window's run with a child for each technique, and return its id; what earlier attempts left open is closed first.

        Args:
            parent: Its tags hold `run_identity`.
            children: One a technique.
            rows: What the run read.
            folder: Becomes the run's artifacts.
        """
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

    def register(self, run_id: str, *, title: str) -> Registered:
        """Return the version that this run's model is, registered once however often this is called; the newest version is the challenger.

        Args:
            run_id: A finished run with a model folder; its tags and its note become the version's.
            title: Of the model, for people; counts when the model is new.
        """
        version = self.registered(run_id) or self._register(run_id, title)
        with self._translated():
            if version.version == max(other.version for other in self._versions()):
                self._client.set_registered_model_alias(
                    self.model, CHALLENGER, str(version.version)
                )
        return version

    def _register(self, run_id: str, title: str) -> Registered:
        with self._translated():
            self._create_model(title)
            run = self._client.get_run(run_id)
            tags = {name: run.data.tags[name] for name in VERSION_TAGS}
            with _one_try():  # a second try after a lost answer would register a second version
                self._client.create_model_version(
                    self.model,
                    f"{run.info.artifact_uri}/model",
                    run_id,
                    tags=tags,
                    description=run.data.tags[NOTE],
                    await_creation_for=0,
                )
        version = self.registered(run_id)
        if version is None:
            raise TrackingUnavailable(
                f"MLflow at {self.url} took a version of {self.model} and does not show it; run again, it will be found"
            )
        return version

    def _create_model(self, title: str) -> None:
        try:
            self._client.create_registered_model(self.model, description=title)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _versions(self) -> list[Registered]:
        """Newest first."""
        found = self._client.search_model_versions(f"name = '{self.model}'", max_results=10_000)
        versions = [Registered(int(one.version), one.run_id) for one in found]
        return sorted(versions, key=lambda version: version.version, reverse=True)

    def _artifact(self, run_id: str, path: str) -> bytes | None:
        """Return a file of the run's own folder; None when a listing that worked does not name it.

        A download's own error does not say whether the file is missing: it looks like an outage.
        """
        if path not in {file.path for file in self._client.list_artifacts(run_id)}:
            return None
        address = f"{self._client.get_run(run_id).info.artifact_uri}/{path}"
        with tempfile.TemporaryDirectory() as folder:
            return Path(
                mlflow.artifacts.download_artifacts(
                    artifact_uri=address, dst_path=folder, tracking_uri=self.url
                )
            ).read_bytes()

    def _runs(self, query: str) -> list[Run]:
        experiment = self._client.get_experiment_by_name(self.model)
        return (
            list(
                self._client.search_runs(
                    [experiment.experiment_id], query, order_by=["attributes.start_time ASC"]
                )
            )
            if experiment
            else []
        )

    def _close_killed(self, identity: str) -> None:
        for run in self._runs(
            f"tags.run_identity = '{identity}' AND attributes.status = 'RUNNING'"
        ):
            self._client.set_tag(
                run.info.run_id,
                NOTE,
                "Killed before it finished; a later run with the same identity took its place.",
            )
            self._client.set_terminated(run.info.run_id, "KILLED")

    def _open(self, record: Record, tags: Mapping[str, str]) -> Run:
        return self._client.create_run(
            self._experiment(),
            start_time=record.started_ms,
            tags={**record.tags, **tags},
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
        found = self._client.get_experiment_by_name(self.model)
        return str(found.experiment_id if found else self._client.create_experiment(self.model))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except RequestException as error:  # of an artifact; all else comes as MlflowException
            raise self._artifact_error(error) from error
        except MlflowException as error:
            if isinstance(error.__context__, _OUR_MISTAKES):
                advice = "correct RETRAIN_TRACKING_URL, or give this machine the certificate of its authority"
                raise TrackingRefused(
                    f"MLflow at {self.url} cannot be asked: {advice} ({error.message[:300]})"
                ) from error
            if error.error_code in _OUTAGES:
                raise self._unavailable(error.message) from error
            raise TrackingRefused(
                f"MLflow at {self.url} refused what was asked for {self.model}: {error.error_code}: {error.message[:500]}"
            ) from error

    def _artifact_error(self, error: RequestException) -> RetrainError:
        status = _status(error)
        if status == HTTPStatus.NOT_FOUND:
            return TrackingRefused(
                f"MLflow at {self.url} has lost an artifact of {self.model}: {error}"
            )
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return TrackingRefused(
                f"MLflow at {self.url} refuses an artifact of {self.model}: {error}. Look at our login with it"
            )
        if isinstance(error, _OUR_MISTAKES) or (
            status is not None and status not in _WORTH_ANOTHER_TRY
        ):
            return TrackingRefused(
                f"MLflow at {self.url} does not take or give an artifact of {self.model}: {error}"
            )
        return self._unavailable(str(error))

    def _unavailable(self, why: str) -> TrackingUnavailable:
        advice = "start it, or set RETRAIN_TRACKING_URL to where it is, and run again; nothing is half-registered"
        return TrackingUnavailable(f"MLflow at {self.url} does not answer: {advice} ({why[:300]})")


def _status(error: RequestException) -> int | None:
    return None if error.response is None else error.response.status_code


@contextmanager
def _one_try() -> Iterator[None]:
    usual = MLFLOW_HTTP_REQUEST_MAX_RETRIES.get()
    MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(0)
    try:
        yield
    finally:
        MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(usual)


def _dataset(rows: Rows) -> Dataset:
    return Dataset(
        name=rows.name,
        digest=rows.digest,
        source_type="ratchet_snapshot",
        source=rows.source,
        profile=rows.profile,
    )


def describe_for_mlflow(
    folder: Path, io: ModelSchema, example: Mapping[str, float | str | None]
) -> None:
    """Add what MLflow shows of a model to its folder: `MLmodel` with the signature, and an example of the input.

    Written by hand: `log_model` would take seconds to guess requirements, and nobody loads this model through MLflow.
    """
    columns = [
        ColSpec(
            "string" if feature.type == "category" else "float",
            feature.name,
            required=feature.required,
        )
        for feature in io.features
    ]
    signature = ModelSignature(
        Schema(columns), Schema([ColSpec("double", output.name) for output in io.outputs])
    )
    saved = {"artifact_path": "input_example.json", "type": "dataframe", "pandas_orient": "split"}
    (folder / "input_example.json").write_text(
        json.dumps({"columns": list(example), "data": [list(example.values())]})
    )
    Model(
        signature=signature,
        saved_input_example_info=saved,
        flavors={"onnx": {"data": "model.onnx"}},
    ).save(str(folder / "MLmodel"))
