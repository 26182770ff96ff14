"""What retrain's workflow relies on of its runs, held by the fake and by a real MLflow server."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from retrain.runs.mlflow import MlflowRuns
from retrain.runs.port import NOTE, VERSION_TAGS, Record, RegisteredVersion, Rows, Runs
from tests.fakes.runs import FakeRuns, Killed
from tests.grounds.learnable_rows import make_window

SNAPSHOT = make_window().snapshot
STARTED_MS = itertools.count(1_700_000_000_000, 1000)


@pytest.fixture(params=["fake", "mlflow"])
def runs(request: pytest.FixtureRequest) -> Runs:
    if request.param == "fake":
        return FakeRuns()
    return MlflowRuns(
        request.getfixturevalue("mlflow_server"), f"flight-delay-{uuid.uuid4().hex[:8]}"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "snapshot.json").write_bytes(SNAPSHOT.to_bytes())
    return tmp_path


def record(
    runs: Runs,
    folder: Path,
    *,
    identity: str,
    plan: str = "plan",
    technique: str = "logistic",
    rows: Iterable[Rows] = (),
) -> str:
    tags = {
        **dict.fromkeys(VERSION_TAGS, "as recorded"),
        "run_identity": identity,
        "plan_digest": plan,
        "technique": technique,
        NOTE: "log loss 0.4",
    }
    started_ms = next(STARTED_MS)
    return runs.record(
        Record("a week", tags, {}, {"test_log_loss": 0.4}, started_ms, started_ms + 1),
        [],
        rows,
        folder,
    )


def challenger(runs: Runs) -> int | None:
    if isinstance(runs, FakeRuns):
        return runs.challenger
    return int(runs._client.get_model_version_by_alias(runs.model, "challenger").version)


def promote(runs: Runs, version: RegisteredVersion, technique: str) -> None:
    if isinstance(runs, FakeRuns):
        runs.champion = technique
    else:
        runs._client.set_registered_model_alias(runs.model, "champion", str(version.version))


def test_a_finished_run_is_found_by_its_identity_and_by_no_other_the_first_of_two(
    runs: Runs, folder: Path
) -> None:
    assert runs.finished_run("one") is None
    first = record(runs, folder, identity="one")
    record(runs, folder, identity="one")
    other = record(runs, folder, identity="other", technique="boosted_trees")
    assert runs.finished_run("one").run_id == first
    assert (runs.finished_run("other").run_id, runs.finished_run("other").technique) == (
        other,
        "boosted_trees",
    )
    assert runs.finished_run("none of them") is None


def killed() -> Iterator[Rows]:
    raise Killed
    yield


def test_a_record_that_was_killed_does_not_count_and_the_next_record_closes_it(
    runs: Runs, folder: Path
) -> None:
    if isinstance(runs, FakeRuns):
        runs.killed_before = "record"
    with pytest.raises(Killed):
        record(runs, folder, identity="one", rows=killed())
    assert runs.finished_run("one") is None
    run_id = record(runs, folder, identity="one")
    assert runs.finished_run("one").run_id == run_id
    if isinstance(runs, MlflowRuns):
        assert sorted(run.info.status for run in runs._runs("")) == ["FINISHED", "KILLED"]


def test_a_run_is_one_version_however_often_registered_and_the_newest_is_the_challenger(
    runs: Runs, folder: Path
) -> None:
    older, newer = (record(runs, folder, identity=identity) for identity in ("older", "newer"))
    assert runs.registered(older) is None
    versions = [runs.register(run_id, title="Will it be late?") for run_id in (older, newer, older)]
    assert [version.version for version in versions] == [1, 2, 1]
    assert runs.registered(older) == versions[0] == RegisteredVersion(1, older)
    assert challenger(runs) == 2


def test_the_last_snapshot_is_that_of_the_newest_version_of_the_same_plan(
    runs: Runs, folder: Path
) -> None:
    assert runs.last_snapshot("plan") is None
    for identity, plan in (("one", "plan"), ("two", "plan"), ("three", "another plan")):
        runs.register(record(runs, folder, identity=identity, plan=plan), title="Will it be late?")
    record(runs, folder, identity="four")  # never registered
    version, snapshot = runs.last_snapshot("plan")
    assert (version.version, snapshot) == (2, SNAPSHOT)
    assert runs.last_snapshot("no such plan") is None


@pytest.mark.parametrize(
    "content", [b"{}", b"not JSON", b'{"written by": "another version"}', None]
)
def test_a_snapshot_that_cannot_be_read_is_no_last_snapshot(
    runs: Runs, folder: Path, content: bytes | None
) -> None:
    if content is None:
        (folder / "snapshot.json").unlink()
    else:
        (folder / "snapshot.json").write_bytes(content)
    (folder / "picture.png").write_bytes(b"an artifact, so that there are some")
    runs.register(record(runs, folder, identity="one"), title="Will it be late?")
    assert runs.last_snapshot("plan") is None


def test_a_run_without_the_tags_that_a_version_needs_is_not_found(runs: Runs, folder: Path) -> None:
    tags = {"run_identity": "one", "plan_digest": "plan", "technique": "logistic"}
    runs.record(Record("an earlier version's", tags, {}, {}, 1, 2), [], [], folder)
    assert runs.finished_run("one") is None
    complete = record(runs, folder, identity="one")
    assert runs.finished_run("one").run_id == complete


def test_the_champions_technique_is_that_of_the_version_that_production_runs_not_of_the_challenger(
    runs: Runs, folder: Path
) -> None:
    assert runs.champion_technique() is None
    version = runs.register(record(runs, folder, identity="one"), title="Will it be late?")
    assert runs.champion_technique() is None
    promote(runs, version, "logistic")
    runs.register(
        record(runs, folder, identity="two", technique="boosted_trees"), title="Will it be late?"
    )
    assert runs.champion_technique() == "logistic"


def test_in_mlflow_a_technique_that_may_not_ship_is_a_failed_child_of_its_run_and_says_why(
    mlflow_server: str, folder: Path
) -> None:
    runs = MlflowRuns(mlflow_server, f"flight-delay-{uuid.uuid4().hex[:8]}")
    children = [
        Record("fitted", {}, {}, {}, 1, 2),
        Record("refused", {}, {}, {}, 1, 2, problem="it did not converge"),
    ]
    run_id = runs.record(
        Record("a week", {"run_identity": "one"}, {}, {}, 1, 2), children, [], folder
    )
    found = runs._runs(f"tags.`mlflow.parentRunId` = '{run_id}'")
    said = {
        child.info.run_name: (child.info.status, child.data.tags.get("not_eligible"))
        for child in found
    }
    assert all(child.data.tags["mlflow.user"] for child in found)
    assert said == {"fitted": ("FINISHED", None), "refused": ("FAILED", "it did not converge")}


def test_in_mlflow_a_version_says_that_it_was_trained_on_a_sample(
    mlflow_server: str, folder: Path
) -> None:
    runs = MlflowRuns(mlflow_server, f"flight-delay-{uuid.uuid4().hex[:8]}")
    tags = {**dict.fromkeys(VERSION_TAGS, "as recorded"), "run_identity": "one", NOTE: "a note"}
    sampled = Record("a week", {**tags, "trained_on": "2 of 9 rows"}, {}, {}, 1, 2)
    version = runs.register(runs.record(sampled, [], [], folder), title="A model")
    found = runs._client.get_model_version(runs.model, str(version.version))
    assert found.tags["trained_on"] == "2 of 9 rows"
    assert found.tags.keys() >= set(VERSION_TAGS)
