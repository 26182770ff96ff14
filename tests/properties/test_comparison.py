"""The interval against a leave-one-out loop over scikit-learn, and what must not change it."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from retrain.comparison.intervals import compare, standard_error, t_quantile
from retrain.comparison.metrics import metric_named, metric_value
from retrain.comparison.ranking import NotComparable

THEIRS = {
    "log_loss": lambda labels, scores: (
        -sklearn_metrics.log_loss(labels, y_proba=scores, labels=[False, True])
    ),
    "brier": lambda labels, scores: (
        -sklearn_metrics.brier_score_loss(labels, y_proba=scores, labels=[False, True])
    ),
    "accuracy": lambda labels, scores: sklearn_metrics.accuracy_score(labels, scores > 0.5),
    "roc_auc": sklearn_metrics.roc_auc_score,
    "average_precision": sklearn_metrics.average_precision_score,
    "mae": lambda labels, scores: -sklearn_metrics.mean_absolute_error(labels, scores),
    "rmse": lambda labels, scores: -sklearn_metrics.root_mean_squared_error(labels, scores),
    "quantile_0.9": lambda labels, scores: (
        -sklearn_metrics.mean_pinball_loss(labels, scores, alpha=0.9)
    ),
}
ORDERS = {"roc_auc", "average_precision"}

metrics = st.sampled_from(sorted(THEIRS))


@st.composite
def rows(draw, metric="log_loss"):
    """Draw unequal groups, some without a class. Half of the draws have many ties."""
    sizes = draw(st.lists(st.integers(1, 12), min_size=2, max_size=7))
    count = sum(sizes)
    grid = draw(st.sampled_from([4, 10, 10**6]))
    score = st.integers(0, grid).map(lambda value: value / grid)
    kinds = {"numbers": score.map(lambda value: 40 * value - 7)}
    kind = kinds.get(metric_named(metric).takes, st.booleans())
    labels = np.array(draw(st.lists(kind, min_size=count, max_size=count)))
    champion, challenger = (
        np.array(draw(st.lists(score, min_size=count, max_size=count))) for _ in range(2)
    )
    groups = np.array(draw(st.permutations(np.repeat(np.arange(len(sizes)), sizes).tolist())))
    return labels, champion, challenger, groups


def naive(metric, labels, champion, challenger, groups):
    """Return the improvement and its standard error, computed as docs/design.md defines them."""

    def improvement(chosen):
        needed = {True, False} if metric == "roc_auc" else {True}
        if metric in ORDERS and not set(labels[chosen].tolist()) >= needed:
            raise NotComparable
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # scikit-learn warns of single classes; means have no need of two
            return THEIRS[metric](labels[chosen], challenger[chosen]) - THEIRS[metric](
                labels[chosen], champion[chosen]
            )

    whole = improvement(np.ones(len(labels), bool))
    names = sorted(set(groups.tolist()))
    squares = [(improvement(groups != name) - whole) ** 2 for name in names]
    return whole, math.sqrt((len(names) - 1) / len(names) * sum(squares))


@given(data=st.data(), metric=metrics)
def test_equal_to_a_leave_one_group_out_loop_over_scikit_learn(data, metric):
    given_rows = data.draw(rows(metric))
    try:
        expected, error = naive(metric, *given_rows)
    except NotComparable:
        with pytest.raises(NotComparable):
            compare(metric, *given_rows, confidence=0.95)
        return
    found = compare(metric, *given_rows, confidence=0.95)
    quantile = t_quantile(0.95, found.effective_groups)
    half, scale = (
        quantile * error,
        max(1.0, quantile),
    )  # estimate and standard error agree to 1e-12; few groups have a large quantile
    assert found.improvement.estimate == pytest.approx(expected, abs=1e-12)
    assert found.improvement.lower == pytest.approx(expected - half, abs=1e-12 * scale)
    assert found.improvement.upper == pytest.approx(expected + half, abs=1e-12 * scale)
    sign = metric_named(metric).sign
    assert found.champion == pytest.approx(
        sign * THEIRS[metric](given_rows[0], given_rows[1])
        if len(set(given_rows[0].tolist())) > 1
        else found.champion,
        abs=1e-12,
    )


def compared(metric, *given_rows, confidence=0.9):
    try:
        return compare(metric, *given_rows, confidence=confidence)
    except NotComparable:
        assume(False)  # too few of something: nothing to hold against
        raise


@given(metric=metrics, given_rows=rows())
def test_swapping_the_models_turns_the_interval_round(metric, given_rows):
    labels, champion, challenger, groups = given_rows
    there, back = (
        compared(metric, *given_rows),
        compared(metric, labels, challenger, champion, groups),
    )
    assert back.improvement.estimate == -there.improvement.estimate
    assert back.improvement.lower == pytest.approx(-there.improvement.upper, abs=1e-15)
    assert (back.champion, back.challenger) == (there.challenger, there.champion)


@given(metric=metrics, given_rows=rows(), data=st.data())
def test_the_order_of_rows_and_the_names_of_groups_do_not_count(metric, given_rows, data):
    order = np.array(data.draw(st.permutations(range(len(given_rows[0])))))
    labels, champion, challenger, groups = (values[order] for values in given_rows)
    there, again = (
        compared(metric, *given_rows),
        compared(metric, labels, champion, challenger, [f"day {9 - group}" for group in groups]),
    )
    assert again.improvement.estimate == pytest.approx(there.improvement.estimate, abs=1e-12)
    assert standard_error(again) == pytest.approx(standard_error(there), abs=1e-10)


@given(metric=st.sampled_from(["log_loss", "brier", "accuracy", "roc_auc"]), given_rows=rows())
def test_naming_the_other_class_true_changes_no_improvement(metric, given_rows):
    labels, champion, challenger, groups = given_rows
    assume(
        metric != "accuracy" or not np.isin(np.concatenate([champion, challenger]), 0.5).any()
    )  # a tie at 0.5 is "false"
    there, turned = (
        compared(metric, *given_rows),
        compared(metric, ~labels, 1 - champion, 1 - challenger, groups),
    )
    assert turned.improvement.estimate == pytest.approx(there.improvement.estimate, abs=1e-9)
    assert standard_error(turned) == pytest.approx(standard_error(there), abs=1e-7)


@given(given_rows=rows(), factor=st.integers(-8, 8), shift=st.sampled_from([0.0, 1.0, 64.0]))
def test_roc_auc_sees_only_the_order_of_scores(given_rows, factor, shift):
    labels, champion, challenger, groups = given_rows
    there, scaled = (
        compared("roc_auc", *given_rows),
        compared("roc_auc", labels, champion, challenger * 2.0**factor + shift, groups),
    )
    assume(
        len(set(challenger.tolist())) == len(set((challenger * 2.0**factor + shift).tolist()))
    )  # no two scores fell together by rounding
    assert scaled.improvement == there.improvement


@given(metric=metrics, given_rows=rows(), copies=st.integers(2, 4))
def test_more_rows_of_the_same_days_prove_no_more(metric, given_rows, copies):
    there = compared(metric, *given_rows)
    often = compared(metric, *(np.tile(values, copies) for values in given_rows))
    assert often.improvement.estimate == pytest.approx(there.improvement.estimate, abs=1e-12)
    assert standard_error(often) == pytest.approx(standard_error(there), abs=1e-9)


@given(metric=metrics, given_rows=rows(), low=st.floats(0.51, 0.98), step=st.floats(0.001, 0.01))
def test_more_confidence_is_a_wider_interval(metric, given_rows, low, step):
    wide = compared(metric, *given_rows, confidence=low + step).improvement
    narrow = compare(
        metric, *given_rows, confidence=low
    ).improvement  # never refused where more confidence is not
    assert wide.lower <= narrow.lower <= narrow.upper <= wide.upper


@given(metric=metrics, given_rows=rows())
def test_figures_are_the_metrics_of_each_model(metric, given_rows):
    labels, champion, challenger, _ = given_rows
    found = compared(metric, *given_rows)
    assert found.champion == pytest.approx(metric_value(metric, labels, champion), abs=1e-15)
    assert found.challenger == pytest.approx(metric_value(metric, labels, challenger), abs=1e-15)
