"""Metrics and their interval, on figures that can be checked by hand or against scikit-learn."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from retrain.comparison.intervals import (
    compare,
    effective_groups,
    group_codes,
    p_value_of_harm,
    standard_error,
)
from retrain.comparison.metrics import LOG_LOSS_EPSILON, METRICS, metric_named, metric_value
from retrain.comparison.ranking import NotComparable

LABELS = [1, 0, 1, 0, 1, 0]
GROUPS = ["a", "a", "b", "b", "c", "c"]
CHAMPION = [0.6, 0.4, 0.5, 0.5, 0.7, 0.2]
CHALLENGER = [0.8, 0.1, 0.7, 0.3, 0.6, 0.4]


def ask(
    metric="brier",
    labels=LABELS,
    champion=CHAMPION,
    challenger=CHALLENGER,
    groups=GROUPS,
    confidence=0.95,
):
    return compare(metric, labels, champion, challenger, groups, confidence=confidence)


@pytest.mark.parametrize(
    ("metric", "theirs"),
    [
        ("log_loss", lambda labels, scores: sklearn_metrics.log_loss(labels, y_proba=scores)),
        ("brier", lambda labels, scores: sklearn_metrics.brier_score_loss(labels, y_proba=scores)),
        (
            "accuracy",
            lambda labels, scores: sklearn_metrics.accuracy_score(labels, np.asarray(scores) > 0.5),
        ),
        ("roc_auc", sklearn_metrics.roc_auc_score),
    ],
)
def test_a_metric_is_scikit_learns_also_at_certain_and_tied_scores(metric, theirs):
    labels = [1, 0, 1, 0, 0, 1, 0, 1]
    scores = [1.0, 0.0, 0.0, 1.0, 0.5, 0.5, 0.5, 0.9]
    assert metric_value(metric, labels, scores) == pytest.approx(theirs(labels, scores), rel=1e-12)


def test_log_loss_of_a_certain_error_is_bounded_by_the_documented_epsilon():
    assert metric_value("log_loss", [1], [0.0]) == -math.log(LOG_LOSS_EPSILON)


def test_an_interval_by_hand():
    # losses of the champion .16 .16 | .25 .25 | .09 .04
    # losses of the challenger .04 .01 | .09 .09 | .16 .16
    # so the gains by group are .27, .32, -.19
    found = ask()
    moves = np.array([(0.32 - 0.19) / 4, (0.27 - 0.19) / 4, (0.27 + 0.32) / 4]) - 0.4 / 6
    error = math.sqrt(2 / 3 * float(np.sum(moves**2)))
    assert found.improvement.estimate == pytest.approx(0.4 / 6)
    assert standard_error(found) == pytest.approx(error)
    assert found.improvement.upper - found.improvement.estimate == pytest.approx(
        stats.t.ppf(0.95, 2) * error
    )
    assert (found.rows, found.groups, found.effective_groups) == (6, 3, pytest.approx(3))


@pytest.mark.parametrize("metric", [*METRICS, "quantile_0.9"])
def test_an_improvement_above_0_means_better_whatever_the_direction(metric):
    perfect = [0.9, 0.1, 0.8, 0.2, 0.7, 0.3]
    poor = [0.2, 0.8, 0.3, 0.7, 0.4, 0.6]
    assert ask(metric, champion=poor, challenger=perfect).improvement.estimate > 0
    assert ask(metric, champion=perfect, challenger=poor).improvement.estimate < 0


def test_unequal_groups_are_worth_fewer():
    assert effective_groups(np.array([8, 1, 1])) == pytest.approx(100 / 66)


def test_the_same_scores_have_no_interval_to_speak_of():
    found = ask(challenger=CHAMPION)
    assert (found.improvement.lower, found.improvement.estimate, found.improvement.upper) == (
        0,
        0,
        0,
    )
    assert p_value_of_harm(found, beyond=0) == 1


def test_the_p_value_of_harm_is_the_t_tests_and_agrees_with_the_bound():
    found = ask(champion=CHALLENGER, challenger=CHAMPION)
    t = found.improvement.estimate / standard_error(found)
    assert p_value_of_harm(found, beyond=0) == pytest.approx(stats.t.cdf(t, 2))
    assert p_value_of_harm(found, beyond=-found.improvement.upper) == pytest.approx(0.05)


def test_proven_harm_without_any_spread_has_p_0():
    found = ask(champion=[0.9, 0.1] * 3, challenger=[0.8, 0.2] * 3)
    assert p_value_of_harm(found, beyond=0) == pytest.approx(0, abs=1e-12)


def test_groups_are_numbered_in_the_order_of_their_text_whatever_the_rows_order():
    codes, sizes = group_codes(["b", "a", "b"])
    assert codes.tolist() == [1, 0, 1]
    assert sizes.tolist() == [1, 2]


def test_a_group_may_lack_a_class():
    found = ask("roc_auc", labels=[1, 1, 1, 0, 1, 0])
    assert math.isfinite(found.improvement.lower)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"metric": "f1"}, "use one of log_loss"),
        ({"labels": [1, 0]}, "6 scores and 2 labels"),
        ({"labels": [1, 0, 1, 0, 1, None]}, "1 of 6 are missing"),
        ({"labels": [1, 0, 1, 0, 1, 2]}, "true or false"),
        ({"labels": [], "champion": [], "challenger": []}, "at least one row"),
        ({"champion": [*CHAMPION[:5], math.nan]}, "the champion's scores must be finite"),
        ({"challenger": [*CHALLENGER[:5], math.inf]}, "the challenger's scores must be finite"),
        ({"challenger": [*CHALLENGER[:5], 1.2]}, "needs probabilities"),
        ({"challenger": [*CHALLENGER[:5], "high"]}, "must be numbers"),
        ({"challenger": [[score] for score in CHALLENGER]}, "one number a row"),
        ({"groups": ["a"] * 6}, "at least 2 groups"),
        ({"groups": GROUPS[:5]}, "5 groups for 6 rows"),
        ({"groups": [*GROUPS[:5], None]}, "every row needs a group"),
        ({"groups": [1, 1, 2, 2, 3, math.nan]}, "every row needs a group"),
        ({"metric": "roc_auc", "labels": [1] * 6}, "both classes"),
        (
            {"metric": "roc_auc", "labels": [1, 0, 0, 0, 0, 0]},
            "one group holds all rows of a class",
        ),
        ({"metric": "average_precision", "labels": [0] * 6}, "all are false"),
        (
            {"metric": "average_precision", "labels": [1, 0, 0, 0, 0, 0]},
            "one group holds all of them",
        ),
        ({"metric": "mae", "labels": [1, 0, 1, 0, 1, math.inf]}, "labels must be finite"),
        ({"metric": "rmse", "labels": [1, 0, 1, 0, 1, 1e200]}, "too large for a number"),
        ({"metric": "quantile_1.5"}, "use one of log_loss"),
        ({"metric": "quantile_0.0"}, "quantile_0.9"),
    ],
)
def test_what_cannot_be_compared_says_why(changed, says):
    with pytest.raises(NotComparable, match=says):
        ask(**changed)


def test_a_group_with_nearly_all_rows_proves_nothing_instead_of_overflowing():
    many = 200
    labels = np.arange(many + 2) % 2
    scores = np.linspace(0, 1, many + 2)
    groups = np.array([0] * many + [1, 1])
    with pytest.raises(NotComparable, match="one group holds nearly all rows"):
        compare("brier", labels, scores, scores[::-1], groups, confidence=0.95)


def test_the_constant_of_a_metric_is_the_best_constant():
    labels = np.random.default_rng(5).exponential(30, 501)
    for name in ("mae", "rmse", "quantile_0.9"):
        best = metric_named(name).constant(labels)
        at_best = metric_value(name, labels, np.full(501, best))
        for other in (best - 2, best + 2):
            assert metric_value(name, labels, np.full(501, other)) > at_best
