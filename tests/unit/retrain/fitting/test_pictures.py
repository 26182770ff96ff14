"""Every run gets its four pictures; the same figures give the same bytes."""

from __future__ import annotations

import numpy as np
import pytest

from retrain.fitting.pictures import draw_pictures, permutation_importance
from retrain.tasks.binary import BINARY
from retrain.tasks.regression import REGRESSION
from retrain.tasks.table import TASKS
from retrain.tasks.task import PictureName

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 2, 500)
SCORES = np.round(np.clip(0.3 * LABELS + RANDOM.random(500) * 0.7, 0, 1), 2)  # with ties

GROUPS = [f"2013-07-{1 + row % 9:02}" for row in range(500)]


def test_scores_that_are_all_the_same_have_pictures_too(tmp_path):
    draw_pictures(
        tmp_path,
        BINARY.pictures,
        title="a constant",
        labels=LABELS,
        groups=GROUPS,
        scores=np.full(500, 0.3),
        importance={"wind": 0.0},
        metric="log_loss",
    )
    assert len(list(tmp_path.glob("*.png"))) == 4


def test_a_feature_that_the_model_ignores_has_no_importance():
    columns = {"used": SCORES.astype(np.float32), "ignored": RANDOM.random(500).astype(np.float32)}
    found = permutation_importance(
        lambda given: given["used"].astype(float), columns, LABELS, metric="roc_auc", seed=1
    )
    assert list(found) == ["used", "ignored"]
    assert found["used"] > 0.1
    assert found["ignored"] == pytest.approx(0)


def test_the_same_figures_give_the_same_pictures(tmp_path):
    for folder in (tmp_path / "a", tmp_path / "b"):
        draw_pictures(
            folder,
            BINARY.pictures,
            title="flight-delay 2013-07-08",
            labels=LABELS,
            groups=GROUPS,
            scores=SCORES,
            importance={"wind": 0.1, "żółć": 0.0},
            metric="log_loss",
        )
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == [
        "calibration.png",
        "permutation_importance.png",
        "precision_recall.png",
        "roc.png",
    ]
    assert all(
        (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        for name in names
    )


def test_a_regression_has_its_pictures_also_when_all_answers_are_the_same(tmp_path):
    for number, scores in enumerate((SCORES * 90, np.full(500, 3.0))):
        draw_pictures(
            tmp_path / str(number),
            REGRESSION.pictures,
            title="arrival-delay",
            labels=LABELS * 60.0,
            groups=GROUPS,
            scores=scores,
            importance={"wind": 0.0},
            metric="mae",
        )
        assert {path.stem for path in (tmp_path / str(number)).glob("*.png")} == {
            *REGRESSION.pictures,
            "permutation_importance",
        }


def test_every_picture_that_a_task_names_can_be_drawn():
    named = {picture for task in TASKS.values() for picture in task.pictures}
    assert named == set(PictureName.__args__)
