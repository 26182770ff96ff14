"""The champion's technique stays unless another's gain is proven."""

from __future__ import annotations

import numpy as np

from retrain.fitting.selection import select_technique

DAYS = np.repeat(np.arange(14), 50)
LABELS = np.tile([1, 0], 350)
RANDOM = np.random.default_rng(0)


def scores(strength: float, noise: float = 0.02):
    return np.clip(
        0.5 + strength * (LABELS - 0.5) + RANDOM.normal(0, noise, len(LABELS)), 0.01, 0.99
    )


def select(champion: str | None, **given):
    return select_technique("log_loss", LABELS, given, DAYS, champion=champion, confidence=0.95)


def test_without_a_champion_the_best_value_ships():
    found = select(None, trees=scores(0.5), logistic=scores(0.3))
    assert found.order == ("trees", "logistic")
    assert "trees has the best log loss" in found.sentence


def test_a_proven_gain_takes_over():
    found = select("logistic", trees=scores(0.5), logistic=scores(0.3))
    assert found.order[0] == "trees"
    assert "trees takes over from logistic" in found.sentence


def of_one_day(base):
    """Far better, but on one day of the fourteen only."""
    return base + np.where(DAYS == 3, 0.5 * (LABELS - 0.5), 0)


def test_a_gain_that_days_cannot_prove_leaves_the_champions_technique():
    base = scores(0.3)
    lucky = of_one_day(base)
    assert select(None, trees=lucky, logistic=base).order[0] == "trees"
    assert select("logistic", trees=lucky, logistic=base).order[0] == "logistic"


def test_a_proven_gain_takes_over_also_when_an_unproven_one_is_larger():
    base = scores(0.3)
    given = {"lucky": of_one_day(base), "steady": base + 0.01 * (LABELS - 0.5), "logistic": base}
    assert select(None, **given).order == ("lucky", "steady", "logistic")
    assert select("logistic", **given).order == ("steady", "lucky", "logistic")


def test_a_worse_technique_never_takes_over():
    found = select("trees", trees=scores(0.5), logistic=scores(0.3))
    assert found.order == ("trees", "logistic")
    assert "trees stays" in found.sentence


def test_a_champion_whose_technique_is_no_candidate_does_not_hold_the_others():
    assert select("random_forest", trees=scores(0.5), logistic=scores(0.3)).order[0] == "trees"


def test_for_a_metric_where_more_is_better_the_most_ships():
    found = select_technique(
        "roc_auc",
        LABELS,
        {"a": scores(0.0, 0.3), "b": scores(0.5)},
        DAYS,
        champion=None,
        confidence=0.95,
    )
    assert found.order[0] == "b"


def test_a_validation_of_one_group_proves_nothing_and_says_so():
    given = {"trees": scores(0.5), "logistic": scores(0.3)}
    found = select_technique(
        "log_loss", LABELS, given, np.zeros(len(LABELS)), champion="logistic", confidence=0.95
    )
    assert found.order[0] == "logistic"
    assert "no gain can be proven" in found.sentence
