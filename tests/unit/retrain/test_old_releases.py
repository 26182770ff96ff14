"""Plan, rows and stored weeks of earlier versions of retrain are the same today."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from retrain.contract import ModelCard
from retrain.snapshot.partitions import read_partition
from retrain.snapshot.snapshot import build_snapshot, is_unchanged, read_split
from retrain.snapshot.store import PartitionStore
from retrain.snapshot.window import week_bounds
from tests.fakes.row_source import FakeSource
from tests.grounds.old_release import OldRelease, old_releases

pytestmark = pytest.mark.parametrize("old", old_releases(), ids=lambda old: old.folder.name)


def source_of(old: OldRelease) -> FakeSource:
    """The warehouse still has the rows that the old run read."""
    weeks = [read_partition(partition) for partition in old.snapshot.partitions]
    return FakeSource(pa.concat_tables(weeks))


def end_of(old: OldRelease) -> datetime:
    return datetime.fromisoformat(old.tags["window_end"]).astimezone(UTC)


def test_an_old_card_keeps_its_bytes(old: OldRelease) -> None:
    content = old.model_folder["model.json"]
    card = ModelCard.model_validate_json(content)
    assert card.to_bytes() == content
    assert card.model_digest == old.release.model_digest == old.tags["model_digest"]


def test_an_old_snapshot_keeps_its_bytes_and_its_rows_are_read(old: OldRelease) -> None:
    snapshot = old.snapshot
    assert snapshot.to_bytes() == old.snapshot_json
    assert snapshot.snapshot_id == old.tags["snapshot_id"]
    assert read_split(snapshot, snapshot.test).num_rows == snapshot.test.rows


def test_the_model_file_has_the_plan_and_the_recipe_of_the_old_run(old: OldRelease) -> None:
    assert old.spec.plan_digest == old.json("run.json")["tags"]["plan_digest"]
    assert old.spec.recipe_digest(old.tags["technique"]) == old.tags["recipe_digest"]


def test_the_same_rows_are_the_same_snapshot(old: OldRelease, tmp_path: Path) -> None:
    snapshot = build_snapshot(old.spec, end_of(old), source_of(old), PartitionStore(tmp_path))
    assert snapshot.snapshot_id == old.snapshot.snapshot_id
    assert is_unchanged(snapshot, old.snapshot)


def test_weeks_that_an_old_run_kept_are_not_read_again(old: OldRelease, tmp_path: Path) -> None:
    source = source_of(old)
    store = PartitionStore(old.copy_store(tmp_path / "store"))

    snapshot = build_snapshot(old.spec, end_of(old), source, store)

    assert snapshot.snapshot_id == old.snapshot.snapshot_id
    first_read = min(window.start for window in source.asked)
    assert first_read >= week_bounds(old.snapshot.partitions[0].week).end
