"""One verdict from start to end on real model folders and partitions, with a fake registry."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from promote.contract import Release, Verdict
from promote.errors import RowsNotFound
from promote.evidence.judging import EvidenceJudge, Judged
from promote.registry.port import ModelVersion
from retrain.contract import Feature, ModelCard, Snapshot
from retrain.snapshot.snapshot import build_snapshot
from retrain.snapshot.store import PartitionStore
from retrain.spec.model_file import GatePolicy
from tests.fakes.model_registry import FakeModelRegistry
from tests.fakes.row_source import JUNE, FakeSource, small_spec, things
from tests.grounds.model_folders import make_model_folder

FEATURES = (
    Feature(name="size", type="number"),
    Feature(name="colour", type="category", known_categories=("blue", "red")),
)


class Shelf:
    """A registry with versions of the small model, trained on one snapshot each."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.registry = folder, FakeModelRegistry()
        self.source, self.store = (
            FakeSource(things(JUNE, days=60, night_hours=4)),
            PartitionStore(folder / "partitions"),
        )

    def snapshot(self, day: int) -> Snapshot:
        return build_snapshot(
            small_spec(), datetime(2013, 7, day, tzinfo=UTC), self.source, self.store
        )

    def register(
        self, seed: int, snapshot: Snapshot, *, keep_snapshot: bool = True
    ) -> ModelVersion:
        made = make_model_folder(
            self.folder / f"made-{seed}", seed=seed, features=FEATURES, model="small"
        )
        card = ModelCard.model_validate(made.model_dump() | {"snapshot_id": snapshot.snapshot_id})
        files = {
            "model.json": card.to_bytes(),
            "model.onnx": (self.folder / f"made-{seed}" / "model.onnx").read_bytes(),
        }
        kept = snapshot.to_bytes() if keep_snapshot else None
        return self.registry.register(
            "small",
            files,
            snapshot=kept,
            tags={
                "model_digest": card.model_digest,
                "snapshot_id": snapshot.snapshot_id,
                "recipe_digest": card.recipe_digest,
                "technique": card.technique,
            },
        )

    def judge(self, challenger: ModelVersion, champion: ModelVersion | None) -> Judged:
        release = None
        if champion:
            digest = champion.model_digest
            release = Release(
                model="small",
                version=champion.version,
                image=f"r/small@{digest}",
                model_digest=digest,
                verdict_digest=digest,
            )
        return EvidenceJudge(self.registry)(
            challenger, release, GatePolicy(), had_release=champion is not None
        )


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_a_first_model_is_judged_against_the_training_rate(shelf: Shelf) -> None:
    judged = shelf.judge(shelf.register(0, shelf.snapshot(8)), None)

    assert (judged.verdict.kind, judged.verdict.challenger, judged.verdict.champion) == (
        "first",
        1,
        None,
    )
    assert judged.verdict.comparisons[0].metric == "log_loss"
    assert {"verdict.json", "evidence.json", "intervals.png"} <= set(judged.files)
    assert Verdict.model_validate_json(judged.files["verdict.json"]) == judged.verdict
    assert judged.figures["gate_log_loss_challenger"] == judged.verdict.comparisons[0].challenger


def test_a_challenger_is_judged_against_what_main_names(shelf: Shelf) -> None:
    champion = shelf.register(0, shelf.snapshot(8))
    judged = shelf.judge(shelf.register(1, shelf.snapshot(15)), champion)

    assert (judged.verdict.kind, judged.verdict.champion) == ("refresh", 1)
    assert judged.verdict.comparisons


def test_a_run_without_its_snapshot_is_a_fault_not_an_outage(shelf: Shelf) -> None:
    judged = shelf.judge(shelf.register(0, shelf.snapshot(8), keep_snapshot=False), None)

    assert judged.verdict.outcome == "inconclusive"
    assert "snapshot.json" in judged.verdict.reasons[0].sentence


def test_a_damaged_partition_is_a_fault_and_a_missing_one_needs_a_person(shelf: Shelf) -> None:
    snapshot = shelf.snapshot(8)
    challenger = shelf.register(0, snapshot)
    last = Path(urlsplit(snapshot.partitions[-1].uri).path)
    content = last.read_bytes()

    last.chmod(0o644)
    last.write_bytes(content[: len(content) // 2])
    assert shelf.judge(challenger, None).verdict.outcome == "inconclusive"

    last.unlink()
    with pytest.raises(RowsNotFound, match="run the window again"):
        shelf.judge(challenger, None)
