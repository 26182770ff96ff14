"""The files of a window's run: snapshot.json, the model folder as it ships, pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from retrain.fitting.contest import Trained
from retrain.fitting.export import loaded
from retrain.fitting.stored_rows import evenly_spaced
from retrain.fitting.window_run import WindowRun
from retrain.model.arrow import columns_of_rows
from retrain.model.columns import Columns
from retrain.model.folder import write_folder

IMPORTANCE_ROWS = 2_000
"""Test rows on which importance is measured: about a second for 13 features."""


def write_artifacts(folder: Path, window: WindowRun, trained: Trained) -> None:
    """Write all files of the run into `folder`, which exists."""
    (folder / "snapshot.json").write_bytes(window.snapshot.to_bytes())
    write_folder(folder / "model", trained.card, trained.winner.network, trained.about)
    _describe(folder / "model", window, trained)
    _draw(folder / "pictures", window, trained)


def _describe(folder: Path, window: WindowRun, trained: Trained) -> None:
    from retrain.runs.mlflow_folder import describe_for_mlflow  # noqa: PLC0415 - mlflow takes seconds to import, while the fits run elsewhere

    first = (
        window.rows["test"]
        .slice(0, 1)
        .select([feature.name for feature in trained.winner.features])
    )
    describe_for_mlflow(folder, trained.card.io, first.to_pylist()[0])


def _draw(folder: Path, window: WindowRun, trained: Trained) -> None:
    from retrain.fitting.pictures import draw_pictures  # noqa: PLC0415 - matplotlib, as above

    test = window.rows["test"]
    draw_pictures(
        folder,
        window.spec.the_task.pictures,
        title=window.run_name,
        labels=window.labels("test"),
        scores=trained.test_scores,
        groups=test.column(window.spec.columns.groups).cast("string").to_pylist(),
        importance=_importance(window, trained),
        metric=window.spec.gate.metric,
    )


def _importance(window: WindowRun, trained: Trained) -> dict[str, float]:
    from retrain.fitting.pictures import permutation_importance  # noqa: PLC0415 - matplotlib, as above

    metric, rows = window.spec.gate.metric, evenly_spaced(window.rows["test"], IMPORTANCE_ROWS)
    labels = rows.column(window.spec.columns.label).cast("double").to_numpy()
    if labels.min() == labels.max():  # a rare label: these few rows say nothing
        return {}
    program = loaded(trained.winner.network, trained.winner.features, window.spec.answer)
    columns = columns_of_rows(trained.winner.features, rows)

    def score(changed: Columns) -> npt.NDArray[np.float64]:
        return program.answer(changed)[window.spec.answer.name].astype(np.float64)

    return permutation_importance(score, columns, labels, metric=metric, seed=window.seed)
