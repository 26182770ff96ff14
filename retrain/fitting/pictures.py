"""Pictures of one model on held-out rows, for the run's page in MLflow.

The task names its pictures: ROC, precision and recall, calibration; or predicted against true, and
residuals by group. Permutation importance is for every task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve, roc_curve

from retrain.comparison.metrics import metric_named, metric_value
from retrain.model.columns import Columns
from retrain.tasks.task import Labels, PictureName

Floats = npt.NDArray[np.float64]
CALIBRATION_BINS = 10
IMPORTANCE_REPEATS = 3
MOST_POINTS = 5_000
"""Of predicted against true; more points only hide each other."""
MOST_GROUPS = 60
"""Of residuals by group: the last ones."""


@dataclass(frozen=True, eq=False)
class _Answers:
    title: str
    labels: Labels
    scores: Floats
    groups: Sequence[str]


def draw_pictures(
    folder: Path,
    names: Sequence[PictureName],
    *,
    title: str,
    labels: Labels,
    scores: Floats,
    groups: Sequence[str],
    importance: Mapping[str, float],
    metric: str,
) -> None:
    """Write a PNG file for each picture. The same figures give the same bytes.

    Args:
        folder: Created when it is missing.
        names: The task's pictures.
        title: Above each picture.
        labels: As the task reads them.
        scores: The model's answers.
        groups: The group of each row.
        importance: From `permutation_importance`.
        metric: The metric of the importance.
    """
    folder.mkdir(parents=True, exist_ok=True)
    answers = _Answers(title, labels, scores, groups)
    for name in names:
        _DRAW[name](folder / f"{name}.png", answers)
    _bars(
        folder / "permutation_importance.png",
        f"{title}\nhow much worse {metric_named(metric).label} gets when a feature is shuffled",
        importance,
    )


def _roc(path: Path, answers: _Answers) -> None:
    false_rate, true_rate, _ = roc_curve(answers.labels, answers.scores)
    area = metric_value("roc_auc", answers.labels, answers.scores)
    _line(
        path,
        f"{answers.title}\nROC AUC {area:.3f}",
        ("false positive rate", false_rate),
        ("true positive rate", true_rate),
        diagonal=True,
    )


def _precision_recall(path: Path, answers: _Answers) -> None:
    precision, recall, _ = precision_recall_curve(answers.labels, answers.scores)
    title = f"{answers.title}\nprecision and recall"
    _line(path, title, ("recall", recall), ("precision", precision))


def _calibration(path: Path, answers: _Answers) -> None:
    observed, predicted = calibration_curve(
        answers.labels, answers.scores, n_bins=CALIBRATION_BINS, strategy="quantile"
    )
    _line(
        path,
        f"{answers.title}\ncalibration in {CALIBRATION_BINS} bins of equal size",
        ("predicted", predicted),
        ("observed", observed),
        diagonal=True,
    )


def _predicted_against_true(path: Path, answers: _Answers) -> None:
    chosen = np.linspace(0, len(answers.labels) - 1, MOST_POINTS).round().astype(int)
    chosen = np.unique(chosen)
    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="predicted", ylabel="true")
    axes.set_title(f"{answers.title}\npredicted against true", fontsize="medium")
    axes.scatter(answers.scores[chosen], answers.labels[chosen], s=4, alpha=0.3, linewidths=0)
    ends = [float(np.min(answers.scores)), float(np.max(answers.scores))]
    axes.plot(ends, ends, color="grey", linestyle=":")
    figure.savefig(path, dpi=90)


def _residuals_by_group(path: Path, answers: _Answers) -> None:
    """Draw the median of true minus predicted in each group, with its middle half."""
    groups, residuals = np.asarray(answers.groups), answers.labels - answers.scores
    names = np.unique(groups)[-MOST_GROUPS:]
    quarters = np.array(
        [np.quantile(residuals[groups == name], (0.25, 0.5, 0.75)) for name in names]
    )
    low, middle, high = quarters.T
    figure = Figure(figsize=(max(5, 1 + 0.2 * len(names)), 4.5), layout="constrained")
    axes = figure.add_subplot(ylabel="true minus predicted, median and middle half")
    axes.set_title(f"{answers.title}\nresiduals by group", fontsize="medium")
    axes.errorbar(range(len(names)), middle, yerr=(middle - low, high - middle), fmt="o", capsize=2)
    axes.axhline(0, color="grey", linestyle=":")
    axes.set_xticks(range(len(names)), [name[:20] for name in names], rotation=90, fontsize="small")
    figure.savefig(path, dpi=90)


_DRAW: dict[PictureName, Callable[[Path, _Answers], None]] = {
    "roc": _roc,
    "precision_recall": _precision_recall,
    "calibration": _calibration,
    "predicted_against_true": _predicted_against_true,
    "residuals_by_group": _residuals_by_group,
}


def permutation_importance(
    score: Callable[[Columns], Floats], columns: Columns, labels: Labels, *, metric: str, seed: int
) -> dict[str, float]:
    """Return how much the metric worsens when a feature's values are shuffled, the largest first.

    Each is the mean of 3 shuffles. Importance says what the model relies on, not what causes the
    label. Two features with the same information share their importance.
    """
    random = np.random.default_rng(seed)
    sign = metric_named(metric).sign
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
