"""Plots of one model on held-out rows, for the run's page: ROC, precision and recall, calibration, permutation importance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from retrain.comparison.intervals import METRICS, metric_value
from retrain.model.columns import Columns

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
CALIBRATION_BINS = 10
IMPORTANCE_REPEATS = 3


def draw_pictures(
    folder: Path,
    *,
    title: str,
    labels: Labels,
    scores: Floats,
    importance: Mapping[str, float],
    metric: str,
) -> None:
    """Write four PNG files; the same figures give the same bytes.

    Args:
        folder: Made when it is not there.
        title: Above each picture.
        labels: 1 or 0, both present.
        scores: P(label is true).
        importance: From `permutation_importance`.
        metric: What the importance is measured in.
    """
    folder.mkdir(parents=True, exist_ok=True)
    false_rate, true_rate = roc_curve(labels, scores)
    recall, precision = precision_recall_curve(labels, scores)
    predicted, observed = calibration_curve(labels, scores)
    area = metric_value("roc_auc", labels, scores)
    _line(
        folder / "roc.png",
        f"{title}\nROC AUC {area:.3f}",
        ("false positive rate", false_rate),
        ("true positive rate", true_rate),
        diagonal=True,
    )
    _line(
        folder / "precision_recall.png",
        f"{title}\nprecision and recall",
        ("recall", recall),
        ("precision", precision),
    )
    _line(
        folder / "calibration.png",
        f"{title}\ncalibration in {CALIBRATION_BINS} bins of equal size",
        ("predicted", predicted),
        ("observed", observed),
        diagonal=True,
    )
    _bars(
        folder / "permutation_importance.png",
        f"{title}\nhow much worse {METRICS[metric].label} gets when a feature is shuffled",
        importance,
    )


def roc_curve(labels: Labels, scores: Floats) -> tuple[Floats, Floats]:
    """Return false and true positive rates, one point a distinct score, from (0, 0) to (1, 1)."""
    hits, misses = _counts(labels, scores)
    return np.append(0.0, misses / misses[-1]), np.append(0.0, hits / hits[-1])


def precision_recall_curve(labels: Labels, scores: Floats) -> tuple[Floats, Floats]:
    """Return recall and precision, one point a distinct score."""
    hits, misses = _counts(labels, scores)
    return hits / hits[-1], hits / (hits + misses)


def calibration_curve(labels: Labels, scores: Floats) -> tuple[Floats, Floats]:
    """Return mean score and share of true labels of each bin; bins hold equally many rows."""
    bins = [
        part
        for part in np.array_split(np.argsort(scores, kind="stable"), CALIBRATION_BINS)
        if len(part)
    ]
    return np.array([scores[part].mean() for part in bins]), np.array(
        [labels[part].mean() for part in bins]
    )


def permutation_importance(
    score: Callable[[Columns], Floats], columns: Columns, labels: Labels, *, metric: str, seed: int
) -> dict[str, float]:
    """Return how much the metric worsens when a feature's values are shuffled, mean of 3 shuffles; best feature first.

    It tells what the model relies on, not what causes the label; features that say the same share their importance.
    """
    random = np.random.default_rng(seed)
    sign = METRICS[metric].sign
    whole = metric_value(metric, labels, score(columns))
    drops = {}
    for name, values in columns.items():
        shuffled = [
            metric_value(metric, labels, score({**columns, name: random.permutation(values)}))
            for _ in range(IMPORTANCE_REPEATS)
        ]
        drops[name] = float(sign * (whole - np.mean(shuffled)))
    return dict(sorted(drops.items(), key=lambda item: -item[1]))


def _counts(labels: Labels, scores: Floats) -> tuple[Floats, Floats]:
    """True and false labels among the rows with at least each distinct score, highest score first."""
    order = np.argsort(-scores, kind="stable")
    last_of_score = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    hits = np.cumsum(labels[order])[last_of_score]
    return hits.astype(np.float64), (last_of_score + 1 - hits).astype(np.float64)


def _line(
    path: Path, title: str, x: tuple[str, Floats], y: tuple[str, Floats], *, diagonal: bool = False
) -> None:
    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel=x[0], ylabel=y[0], xlim=(0, 1), ylim=(0, 1))
    axes.set_title(title, fontsize="medium")
    axes.plot(x[1], y[1])
    if diagonal:
        axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    figure.savefig(path, dpi=90)


def _bars(path: Path, title: str, values: Mapping[str, float]) -> None:
    figure = Figure(figsize=(6, 1.5 + 0.25 * len(values)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize="medium")
    names = list(values)[::-1]
    axes.barh(names, [values[name] for name in names])
    figure.savefig(path, dpi=90)
