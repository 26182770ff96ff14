"""Pictures of one model on held-out rows, for the run's page in MLflow.

ROC, precision and recall, calibration, permutation importance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve, roc_curve

from retrain.comparison.metrics import METRICS, metric_value
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
    """Write four PNG files. The same figures give the same bytes.

    Args:
        folder: Created when it is missing.
        title: Above each picture.
        labels: 1 or 0, both present.
        scores: P(label is true).
        importance: From `permutation_importance`.
        metric: The metric of the importance.
    """
    folder.mkdir(parents=True, exist_ok=True)
    false_rate, true_rate, _ = roc_curve(labels, scores)
    precision, recall, _ = precision_recall_curve(labels, scores)
    observed, predicted = calibration_curve(
        labels, scores, n_bins=CALIBRATION_BINS, strategy="quantile"
    )
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


def permutation_importance(
    score: Callable[[Columns], Floats], columns: Columns, labels: Labels, *, metric: str, seed: int
) -> dict[str, float]:
    """Return how much the metric worsens when a feature's values are shuffled, the largest first.

    Each is the mean of 3 shuffles. Importance says what the model relies on, not what causes the
    label. Two features with the same information share their importance.
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
