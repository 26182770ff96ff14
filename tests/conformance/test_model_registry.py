"""What promote relies on of any model registry, held by the fake and by a real MLflow server."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest

from promote.errors import ArtifactNotFound, InvalidArtifact, InvalidName, VersionNotFound
from promote.registry.mlflow import open_model_registry
from promote.registry.port import RETRAIN_TAGS, ModelRegistry, ModelVersion, RegisteredModel
from retrain.contract import (
    Feature,
    ModelCard,
    ModelSchema,
    Output,
    Partition,
    Snapshot,
    Split,
    canonical_json,
    digest_of_bytes,
)
from retrain.runs.client import open_client
from tests.fakes.model_registry import FakeModelRegistry

RETRAINED = {name: f"the {name}" for name in RETRAIN_TAGS}
START = datetime(2013, 4, 1, tzinfo=UTC)
NUMBERS = itertools.count()


class Retrain(Protocol):
    """Plays retrain on the registry under test."""

    registry: ModelRegistry

    def register(
        self,
        model: str,
        folder: Mapping[str, bytes],
        *,
        snapshot: bytes | None,
        tags: Mapping[str, str],
    ) -> ModelVersion: ...

    def evidence(self, version: ModelVersion, name: str) -> dict[str, bytes]: ...

    def metrics(self, version: ModelVersion) -> dict[str, float]: ...


class FakeRetrain:
    def __init__(self) -> None:
        self.registry: FakeModelRegistry = FakeModelRegistry()
        self.register = self.registry.register

    def evidence(self, version: ModelVersion, name: str) -> dict[str, bytes]:
        return self.registry.evidence[version.run_id, name]

    def metrics(self, version: ModelVersion) -> dict[str, float]:
        return self.registry.metrics[version.run_id]


class MlflowRetrain:
    def __init__(self, url: str, folder: Path) -> None:
        self.registry = open_model_registry(url)
        self._url, self._folder, self._client = url, folder, open_client(url)

    def register(
        self,
        model: str,
        folder: Mapping[str, bytes],
        *,
        snapshot: bytes | None,
        tags: Mapping[str, str],
    ) -> ModelVersion:
        experiment = self._client.get_experiment_by_name(model)
        if experiment is None:
            self._client.create_registered_model(model)
        run = self._client.create_run(
            experiment.experiment_id if experiment else self._client.create_experiment(model)
        ).info
        local = self._folder / run.run_id
        (local / "model").mkdir(parents=True)
        for name, content in folder.items():
            (local / "model" / name).write_bytes(content)
        if snapshot is not None:
            (local / "snapshot.json").write_bytes(snapshot)
        self._client.log_artifacts(run.run_id, str(local))
        self._client.update_run(run.run_id, status="FINISHED")
        version = self._client.create_model_version(
            model, f"{run.artifact_uri}/model", run.run_id, tags=dict(tags)
        )
        self._client.set_registered_model_alias(model, "challenger", version.version)
        return self.registry.version(model, int(version.version))

    def evidence(self, version: ModelVersion, name: str) -> dict[str, bytes]:
        import mlflow  # noqa: PLC0415 - as above

        uri = f"{self._client.get_run(version.run_id).info.artifact_uri}/evidence/{name}"
        local = Path(
            mlflow.artifacts.download_artifacts(
                artifact_uri=uri, dst_path=str(self._folder), tracking_uri=self._url
            )
        )
        return {path.name: path.read_bytes() for path in local.iterdir()}

    def metrics(self, version: ModelVersion) -> dict[str, float]:
        for name in (found := self._client.get_run(version.run_id).data.metrics):
            assert len(self._client.get_metric_history(version.run_id, name)) == 1
        return dict(found)


@pytest.fixture(params=["fake", "mlflow"])
def retrain(request: pytest.FixtureRequest, tmp_path: Path) -> Retrain:
    if request.param == "fake":
        return FakeRetrain()
    return MlflowRetrain(request.getfixturevalue("mlflow_server"), tmp_path)


@pytest.fixture
def model() -> str:
    """A name that no other test or earlier run used on a server that is kept warm."""
    return f"conform-{os.getpid()}-{next(NUMBERS)}"


def folder_of(onnx: bytes = b"weights") -> dict[str, bytes]:
    card = ModelCard(
        model="flight-delay",
        task="binary_classification",
        technique="logistic",
        io=ModelSchema(
            features=(Feature(name="distance", type="number"),),
            outputs=(Output(name="probability"),),
        ),
        snapshot_id=digest_of_bytes(b"snapshot"),
        recipe_digest=digest_of_bytes(b"recipe"),
        files={"model.onnx": digest_of_bytes(onnx)},
    )
    return {"model.json": card.to_bytes(), "model.onnx": onnx}


def a_snapshot() -> Snapshot:
    def days(first: int, last: int) -> Split:
        return Split(
            groups=(),
            start=START + timedelta(days=first),
            end=START + timedelta(days=last),
            rows=10,
        )

    partition = Partition(
        week="2013-W14",
        uri="file:///snapshots/é.parquet",
        rows_digest=digest_of_bytes(b"rows"),
        rows=30,
    )
    splits = {"train": days(0, 60), "validation": days(60, 74), "test": days(74, 81)}
    return Snapshot(
        query_digest=digest_of_bytes(b"query"),
        key="k",
        event_time="t",
        label="l",
        groups="g",
        partitions=(partition,),
        **splits,
    )


def register(
    retrain: Retrain,
    model: str,
    folder: Mapping[str, bytes] | None = None,
    *,
    snapshot: bytes | None = None,
    **tags: str,
) -> ModelVersion:
    return retrain.register(
        model,
        folder or folder_of(),
        snapshot=snapshot or canonical_json(a_snapshot().model_dump(mode="json")),
        tags={**RETRAINED, **tags},
    )


def test_a_model_that_was_never_registered_has_no_challenger_or_champion(
    retrain: Retrain, model: str
) -> None:
    assert retrain.registry.challenger(model) is None
    assert retrain.registry.champion(model) is None


def test_the_challenger_is_the_version_with_the_alias(retrain: Retrain, model: str) -> None:
    first = register(retrain, model, technique="logistic")
    assert retrain.registry.challenger(model) == first
    second = register(retrain, model)
    assert retrain.registry.challenger(model) == second
    assert (first.version, second.version) == (1, 2)
    assert first.run_id != second.run_id
    assert retrain.registry.champion(model) is None


def test_all_models_are_listed_with_their_aliases_and_newest_versions(
    retrain: Retrain, model: str
) -> None:
    assert model not in retrain.registry.registered_models()
    other = f"{model}-2"
    register(retrain, model, technique="logistic")
    second = register(retrain, model, technique="boosted_trees")
    retrain.registry.set_champion(model, 1)
    only = register(retrain, other)
    retrain.registry.drop_challenger(other, 1)
    models = retrain.registry.registered_models()
    assert models[model] == RegisteredModel(challenger=2, champion=1, newest=second)
    assert models[other] == RegisteredModel(challenger=None, champion=None, newest=only)


def test_a_version_carries_its_tags_and_an_aware_time(retrain: Retrain, model: str) -> None:
    version = register(retrain, model, technique="boosted_trees", model_digest="sha256:00")
    assert dict(version.tags) == {
        **RETRAINED,
        "technique": "boosted_trees",
        "model_digest": "sha256:00",
    }
    assert (version.technique, version.model_digest) == ("boosted_trees", "sha256:00")
    assert (version.snapshot_id, version.recipe_digest) == ("the snapshot_id", "the recipe_digest")
    assert version.created_at.utcoffset() == timedelta(0)
    assert retrain.registry.version(model, 1) == version


def test_the_champion_moves_only_when_told_and_twice_is_once(retrain: Retrain, model: str) -> None:
    first, _ = register(retrain, model), register(retrain, model)
    for _ in range(2):
        retrain.registry.set_champion(model, 1)
    assert retrain.registry.champion(model) == first
    retrain.registry.set_champion(model, 2)
    assert (champion := retrain.registry.champion(model)) is not None
    assert champion.version == 2


def test_a_version_is_challenger_no_more_once_and_a_newer_one_gets_the_alias(
    retrain: Retrain, model: str
) -> None:
    registry = retrain.registry
    register(retrain, model)
    registry.drop_challenger(model, 2)
    assert registry.challenger(model) is not None, "the alias names another version"
    for _ in range(2):
        registry.drop_challenger(model, 1)
    assert registry.challenger(model) is None
    second = register(retrain, model)
    registry.drop_challenger(model, 1)
    assert registry.challenger(model) == second


def test_a_version_that_is_not_there_is_an_error_not_none(retrain: Retrain, model: str) -> None:
    registry = retrain.registry
    for act in (
        lambda: registry.version(model, 1),
        lambda: registry.set_champion(model, 1),
        lambda: registry.tag(model, 1, "a", "b"),
    ):
        with pytest.raises(VersionNotFound):
            act()
    register(retrain, model)
    for act in (
        lambda: registry.version(model, 7),
        lambda: registry.set_champion(model, 7),
        lambda: registry.tag(model, 7, "a", "b"),
    ):
        with pytest.raises(VersionNotFound):
            act()


def test_who_asks_for_a_version_that_is_not_there_is_told_which_there_are(
    retrain: Retrain, model: str
) -> None:
    with pytest.raises(
        VersionNotFound, match=rf"^{model} has no version 99\. .*: none\. `retrain run {model}`"
    ):
        retrain.registry.version(model, 99)
    register(retrain, model), register(retrain, model)
    with pytest.raises(
        VersionNotFound, match=rf"^{model} has no version 99\. Its newest versions: 1, 2\.$"
    ):
        retrain.registry.version(model, 99)


def test_a_tag_is_kept_replaced_and_removed(retrain: Retrain, model: str) -> None:
    register(retrain, model, technique="logistic")
    name, value = (
        "verdict/" + "0" * 12 + "-" + "1" * 12,
        '{"outcome":"promote","sentence":"log loss improves by 0.013 – é"}',
    )
    for written in ("before", value):
        retrain.registry.tag(model, 1, name, written)
    assert dict(retrain.registry.version(model, 1).tags) == {
        **RETRAINED,
        "technique": "logistic",
        name: value,
    }
    for _ in range(2):
        retrain.registry.tag(model, 1, name, None)
    assert dict(retrain.registry.version(model, 1).tags) == {**RETRAINED, "technique": "logistic"}


def test_the_model_folder_is_the_card_and_what_it_lists_and_nothing_else(
    retrain: Retrain, model: str, tmp_path: Path
) -> None:
    version = register(retrain, model, {**folder_of(b"x" * 300_000), "MLmodel": b"flavors: {}"})
    (destination := tmp_path / "folder").mkdir()
    assert retrain.registry.download_model_folder(version, destination) == folder_of(b"x" * 300_000)
    assert {path.name: path.read_bytes() for path in destination.iterdir()} == folder_of(
        b"x" * 300_000
    )


def test_a_card_without_its_file_and_a_folder_without_its_card_are_errors(
    retrain: Retrain, model: str, tmp_path: Path
) -> None:
    for folder in ({"model.json": folder_of()["model.json"]}, {"model.onnx": b""}):
        with pytest.raises(ArtifactNotFound):
            retrain.registry.download_model_folder(register(retrain, model, folder), tmp_path)


def test_a_card_that_is_none_is_an_error(retrain: Retrain, model: str, tmp_path: Path) -> None:
    for content in (b"{", b"{}", b"\xff"):
        with pytest.raises(InvalidArtifact, match=r"model\.json"):
            retrain.registry.download_model_folder(
                register(retrain, model, {"model.json": content}), tmp_path
            )


@pytest.mark.parametrize(
    "name", ["../escaped", "/tmp/escaped", "..", "a/b", "a\\b", "a\0b", "%2e%2e%2fescaped"]
)
def test_a_card_cannot_name_a_file_outside_the_folder(
    retrain: Retrain, model: str, tmp_path: Path, name: str
) -> None:
    card = ModelCard.model_validate_json(folder_of()["model.json"]).model_copy(
        update={"files": {name: digest_of_bytes(b"")}}
    )
    version = register(retrain, model, {"model.json": card.to_bytes()})
    (destination := tmp_path / "folder").mkdir()
    with pytest.raises(InvalidName):
        retrain.registry.download_model_folder(version, destination)
    assert not (tmp_path / "escaped").exists()


def test_the_snapshot_is_read_from_the_run(retrain: Retrain, model: str) -> None:
    assert retrain.registry.snapshot(register(retrain, model)) == a_snapshot()


def test_a_run_without_a_snapshot_or_with_a_broken_one_is_an_error(
    retrain: Retrain, model: str
) -> None:
    with pytest.raises(ArtifactNotFound):
        retrain.registry.snapshot(
            retrain.register(model, folder_of(), snapshot=None, tags=RETRAINED)
        )
    for content in (b"{", b"{}", b"\xff"):
        with pytest.raises(InvalidArtifact):
            retrain.registry.snapshot(register(retrain, model, snapshot=content))


def test_evidence_is_kept_by_name_and_replaced(retrain: Retrain, model: str) -> None:
    version = register(retrain, model)
    retrain.registry.log_evidence(
        version, "v1-first", {"evidence.json": b"old", "intervals.png": b"\x89PNG"}
    )
    retrain.registry.log_evidence(version, "v1-first", {"evidence.json": b"new"})
    assert retrain.evidence(version, "v1-first") == {
        "evidence.json": b"new",
        "intervals.png": b"\x89PNG",
    }


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "a/b", "", ".", "a\0b"])
def test_evidence_cannot_be_written_outside_its_folder(
    retrain: Retrain, model: str, name: str
) -> None:
    version = register(retrain, model)
    with pytest.raises(InvalidName):
        retrain.registry.log_evidence(version, name, {"evidence.json": b""})
    with pytest.raises(InvalidName):
        retrain.registry.log_evidence(version, "v1", {name: b""})
    with pytest.raises(InvalidName):
        retrain.registry.read_evidence(version, name, "evidence.json")
    with pytest.raises(InvalidName):
        retrain.registry.read_evidence(version, "v1", name)


def test_evidence_is_read_back_and_its_absence_is_an_error(retrain: Retrain, model: str) -> None:
    version = register(retrain, model)
    with pytest.raises(ArtifactNotFound):
        retrain.registry.read_evidence(version, "v1-first", "verdict.json")
    retrain.registry.log_evidence(version, "v1-first", {"verdict.json": b"\x00promote\xff"})
    assert retrain.registry.read_evidence(version, "v1-first", "verdict.json") == b"\x00promote\xff"
    for name, file_name in [("v1-first", "other.json"), ("v2", "verdict.json")]:
        with pytest.raises(ArtifactNotFound):
            retrain.registry.read_evidence(version, name, file_name)


def test_the_same_metrics_twice_are_one(retrain: Retrain, model: str) -> None:
    version = register(retrain, model)
    for _ in range(2):
        retrain.registry.log_metrics(
            version, {"test/log_loss": 0.41, "test/champion/log_loss": 0.43}
        )
    assert retrain.metrics(version) == {"test/log_loss": 0.41, "test/champion/log_loss": 0.43}


def test_links_name_the_runs_and_need_no_decoding_by_a_person(retrain: Retrain, model: str) -> None:
    first, second = register(retrain, model), register(retrain, model)
    ending = "workflowType=machine_learning"  # behind the #: MLflow's pages read it there only
    page = f"/runs/{first.run_id}"
    assert retrain.registry.run_url(first).endswith(f"{page}?{ending}")
    shown = retrain.registry.evidence_url(first, "0123456789ab", "explanation.md")
    assert shown.endswith(f"{page}/artifacts/evidence/0123456789ab/explanation.md?{ending}")
    assert "/#/experiments/" in shown
    url = retrain.registry.comparison_url(first, second)
    assert (
        f"/#/compare-runs?runs=%5B%22{first.run_id}%22%2C%22{second.run_id}%22%5D&experiments=%5B%22"
        in url
    )
    assert url.endswith(f"%22%5D&{ending}")


@pytest.mark.parametrize(
    "name", ["", "a/b", "../x", "A", "a b", "a:b", "x" * 41, "a\n", "-a", "a-"]
)
def test_a_hostile_model_name_is_refused_before_anybody_is_asked(
    retrain: Retrain, name: str
) -> None:
    registry = retrain.registry
    acts = (
        lambda: registry.challenger(name),
        lambda: registry.champion(name),
        lambda: registry.version(name, 1),
        lambda: registry.set_champion(name, 1),
    )
    for act in (
        *acts,
        lambda: registry.tag(name, 1, "a", "b"),
        lambda: registry.drop_challenger(name, 1),
    ):
        with pytest.raises(InvalidName):
            act()
