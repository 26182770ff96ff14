"""Which rows each fit sees, whose figures are recorded, and what ships when a refit fails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from retrain.errors import TrainingError
from retrain.fitting.contest import Trained, train
from retrain.fitting.training import Fit, Fitted, Ineligible
from retrain.fitting.window_run import WindowRun
from tests.grounds.learnable_rows import make_spec, make_window

LOGISTIC_STRENGTH = 0.2


class Fits:
    """A `fit_all` that fits nothing and remembers its requests.

    Trees are as good as the test says, day by day. A refit is a bit better than a first fit.
    """

    def __init__(self) -> None:
        self.asked: list[Fit] = []
        self.gain_of_trees = np.full(7, 0.2)
        """On each day of validation, over the other technique."""
        self.refused_refits: set[str] = set()

    def __call__(self, tasks: list[Fit], *, workers: int) -> list[Fitted | Ineligible]:
        is_refit = bool(self.asked)
        self.asked += tasks
        return [self._outcome(task, is_refit=is_refit) for task in tasks]

    def _outcome(self, task: Fit, *, is_refit: bool) -> Fitted | Ineligible:
        if is_refit and task.name in self.refused_refits:
            return Ineligible(task.name, "an inexact export", 0.1)
        return Fitted(
            task.name,
            task.features,
            task.name.encode(),
            self.scores(task.name, task.held_out, is_refit=is_refit),
            0.0,
            0.1,
        )

    def scores(self, name: str, rows: pa.Table, *, is_refit: bool) -> np.ndarray:
        days = np.unique(rows.column("day").to_pylist(), return_inverse=True)[1]
        strength = (
            LOGISTIC_STRENGTH
            + 0.1 * is_refit
            + (self.gain_of_trees[days % 7] if name == "boosted_trees" else 0)
        )
        return 0.5 + strength * (rows.column("late").to_numpy() - 0.5)


@pytest.fixture
def fits(monkeypatch) -> Fits:
    made = Fits()
    monkeypatch.setattr("retrain.fitting.contest.fit_all", made)
    return made


def contest(window: WindowRun, champion: str | None = None) -> Trained:
    return train(window, champion=champion, workers=1, say=lambda _: None)


def keys(*tables: pa.Table) -> list[str]:
    return [key for table in tables for key in table.column("key").to_pylist()]


def test_candidates_see_train_the_winner_also_validation_and_nothing_the_test_rows(fits):
    window = make_window()
    contest(window)
    *candidates, refit = fits.asked
    assert [fit.name for fit in candidates] == ["boosted_trees", "logistic"]
    for fit in candidates:
        assert (keys(fit.train), keys(fit.held_out)) == (
            keys(window.rows["train"]),
            keys(window.rows["validation"]),
        )
    assert keys(refit.train) == keys(window.rows["train"], window.rows["validation"])
    assert keys(refit.held_out) == keys(window.rows["validation"], window.rows["test"])
    assert {fit.seed for fit in fits.asked} == {window.seed}


def test_validation_figures_are_of_the_fit_on_train_and_test_figures_of_what_ships(
    fits,
):
    window = make_window()
    window = replace(window, rows={**window.rows, "test": window.rows["test"].slice(0, 400)})
    trained = contest(window)
    before = fits.scores("boosted_trees", window.rows["validation"], is_refit=False)
    shipped = fits.scores("boosted_trees", window.rows["test"], is_refit=True)
    assert trained.test_scores.tolist() == shipped.tolist()
    assert trained.figures == {
        **window.figures("validation", before),
        **window.constant_figure("validation", "train"),
        **window.figures("test", shipped),
        **window.constant_figure("test", "train", "validation"),
    }


def test_a_sample_is_refitted_on_a_sample(fits):
    contest(make_window(sample=500))
    assert fits.asked[-1].train.num_rows == 500


def test_when_the_winners_refit_exports_wrongly_the_next_technique_ships_and_the_notes_say_why(
    fits,
):
    fits.refused_refits = {"boosted_trees"}
    trained = contest(make_window())
    assert (trained.winner.name, trained.card.technique) == ("logistic", "logistic")
    assert (
        "boosted_trees, refitted on train and validation, is not eligible: an inexact export"
        in trained.notes
    )


def test_when_no_refit_may_ship_the_error_says_why_of_each(fits):
    fits.refused_refits = {"boosted_trees", "logistic"}
    with pytest.raises(
        TrainingError,
        match=r"boosted_trees, refitted .* an inexact export;"
        r" logistic, refitted .* an inexact export",
    ):
        contest(make_window())


def test_the_champions_technique_stays_when_the_gain_is_one_days(fits):
    fits.gain_of_trees = np.array([0.7, 0, 0, 0, 0, 0, 0])
    assert contest(make_window()).winner.name == "boosted_trees"
    fits.asked.clear()
    assert contest(make_window(), "logistic").winner.name == "logistic"


@pytest.mark.parametrize(("sure", "winner"), [(0.75, "boosted_trees"), (0.99, "logistic")])
def test_how_proven_a_gain_must_be_is_said_by_the_models_gate_for_changes(fits, sure, winner):
    fits.gain_of_trees = np.array([0.5, 0.5, -0.15, -0.15, 0.5, -0.15, 0.0])
    gate = make_spec().gate
    spec = make_spec(
        gate=gate.model_copy(
            update={"change": gate.change.model_copy(update={"better_with_confidence": sure})}
        )
    )
    assert contest(make_window(spec), "logistic").winner.name == winner


def test_the_card_knows_the_categories_of_all_rows_that_the_shipped_model_was_fitted_on(fits):
    window = make_window()
    validation = window.rows["validation"]
    newcomer = pa.array(["ZZ"] * validation.num_rows)
    rows = {
        **window.rows,
        "validation": validation.set_column(
            validation.column_names.index("carrier"), "carrier", newcomer
        ),
    }
    assert "ZZ" in contest(replace(window, rows=rows)).card.io.features[0].known_categories
