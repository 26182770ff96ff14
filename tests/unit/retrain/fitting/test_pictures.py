"""Curves agree with scikit-learn's; pictures are written, the same figures as the same bytes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from retrain.fitting.pictures import (
    calibration_curve,
    draw_pictures,
    permutation_importance,
    precision_recall_curve,
    roc_curve,
)

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 2, 500)
SCORES = np.round(np.clip(0.3 * LABELS + RANDOM.random(500) * 0.7, 0, 1), 2)  # with ties


def test_the_roc_curve_is_scikit_learns():
    ours = roc_curve(LABELS, SCORES)
    theirs = metrics.roc_curve(LABELS, SCORES, drop_intermediate=False)
    np.testing.assert_allclose(ours, theirs[:2], atol=1e-12)


def test_the_precision_recall_curve_is_scikit_learns():
    recall, precision = precision_recall_curve(LABELS, SCORES)
    theirs = metrics.precision_recall_curve(LABELS, SCORES)
    np.testing.assert_allclose(precision[::-1], theirs[0][:-1], atol=1e-12)
    np.testing.assert_allclose(recall[::-1], theirs[1][:-1], atol=1e-12)


def test_the_calibration_curve_keeps_every_row():
    predicted, observed = calibration_curve(LABELS, SCORES)
    assert predicted.mean() == pytest.approx(SCORES.mean())
    assert observed.mean() == pytest.approx(LABELS.mean())
    assert np.all(np.diff(predicted) >= 0)


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
            title="flight-delay 2013-07-08",
            labels=LABELS,
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
