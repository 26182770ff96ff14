"""The gate's rules, each on days whose mean gains are chosen for it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from promote.gate.evidence import Evidence, Faulty, FixedTestRows, Subject, evidence_of
from promote.gate.harm import holm
from promote.gate.judge import judge
from promote.gate.rules import more_groups_needed, smallest_difference
from retrain.contract import canonical_json
from retrain.spec.model_file import ChangeRule, GatePolicy, RefreshRule, SliceRule
from retrain.tasks.binary import BINARY
from retrain.tasks.regression import REGRESSION

SNAPSHOT = "sha256:" + "0" * 64
ROWS_A_DAY = 100
POLICY = GatePolicy(
    metric="brier", slices=SliceRule(by=("origin",), min_rows=50, max_worsening=0.03)
)


def scored(gains, *, origins=("JFK", "LGA"), gains_at=None) -> dict[str, Any]:
    """Days of 100 rows, half of them positive.

    The champion's Brier score is 0.25, the challenger's is lower by the day's gain. `gains_at`
    gives a slice of `origin` gains of its own.
    """
    days = len(gains)
    labels = np.tile([1, 0], days * ROWS_A_DAY // 2)
    origin = np.tile(np.repeat(origins, ROWS_A_DAY // len(origins)), days)
    gain = np.repeat(gains, ROWS_A_DAY).astype(float)
    for value, own in (gains_at or {}).items():
        gain = np.where(origin == value, np.repeat(own, ROWS_A_DAY), gain)
    distance = np.sqrt(0.25 - gain)
    return {
        "keys": np.arange(len(labels)),
        "labels": labels,
        "groups": np.repeat([f"2013-07-{day + 1:02}" for day in range(days)], ROWS_A_DAY),
        "champion_scores": np.full(len(labels), 0.5),
        "challenger_scores": np.where(labels == 1, 1 - distance, distance),
        "slices": {"origin": origin},
    }


def evidence(gains, *, kind="change", champion=7, gains_at=None, **changed) -> Faulty | Evidence:
    subject = Subject("flight-delay", kind, 8, champion, SNAPSHOT)
    return evidence_of(subject, BINARY, **{**scored(gains, gains_at=gains_at), **changed})


GOOD = [0.02, 0.03, 0.02, 0.03, 0.02, 0.03, 0.02]
EVEN = [0.02, -0.02, 0.01, -0.01, 0.02, -0.02, 0.0]
BAD = [-gain for gain in GOOD]


def reasons(verdict, outcome):
    return [reason.sentence for reason in verdict.reasons if reason.outcome == outcome]


def test_a_change_that_is_proven_better_is_promoted():
    verdict = judge(evidence(GOOD), POLICY)
    assert verdict.outcome == "promote"
    assert verdict.comparisons[0].improvement.confidence == 0.95
    assert verdict.reasons[0].rule == "change"
    assert "Brier score improves by 0.024" in verdict.reasons[0].sentence
    assert "on 700 rows of 7 days" in verdict.reasons[0].sentence


def test_a_change_whose_worthwhile_gain_is_ruled_out_is_kept_out():
    verdict = judge(evidence([0.0005, -0.0005] * 4), POLICY)
    assert verdict.outcome == "keep"
    assert (
        "At 95 % confidence v8 improves by less than 0.0025 (1 %), the smallest gain"
        in verdict.reasons[0].sentence
    )


@pytest.mark.parametrize("kind", ["change", "first"])
@pytest.mark.parametrize("gain", [1e-12, 0.001])
def test_a_gain_that_is_proven_and_below_worthwhile_is_kept_out(kind, gain):
    champion = None if kind == "first" else 7
    verdict = judge(evidence([gain, 1.01 * gain] * 4, kind=kind, champion=champion), POLICY)
    assert verdict.comparisons[0].improvement.lower > 0
    assert verdict.outcome == "keep"
    than = "v8 is better than the constant" if kind == "first" else "v8 is better than v7"
    assert (
        f"At 95 % confidence {than}, but by less than 0.0025 (1 %), "
        "the smallest gain that the policy ships." in verdict.reasons[0].sentence
    )


def test_a_proven_gain_that_may_be_worthwhile_is_promoted_although_its_estimate_is_below():
    found = (
        judge(evidence([0.001, 0.004] * 4), POLICY.model_copy(update={"worthwhile": 0.0}))
        .comparisons[0]
        .improvement
    )
    share = (found.estimate + found.upper) / 2 / 0.25
    assert found.lower > 0
    assert (
        judge(evidence([0.001, 0.004] * 4), POLICY.model_copy(update={"worthwhile": share})).outcome
        == "promote"
    )


def test_a_policy_without_a_least_gain_promotes_any_proven_one():
    assert (
        judge(evidence([1e-9, 1.01e-9] * 4), POLICY.model_copy(update={"worthwhile": 0.0})).outcome
        == "promote"
    )


def test_a_change_in_between_is_inconclusive_and_says_what_would_settle_it():
    verdict = judge(evidence(EVEN), POLICY)
    assert verdict.outcome == "inconclusive"
    assert "These 7 days can show a difference of 0.0" in verdict.reasons[0].sentence
    assert "more days like these would show 0.0025." in verdict.reasons[0].sentence


def test_a_gain_that_no_window_of_a_year_would_show_is_said_to_be_out_of_reach():
    verdict = judge(evidence([0.1, -0.1, 0.05, -0.05, 0.1, -0.1, 0.0]), POLICY)
    assert "Even 365 days would not show 0.0025." in verdict.reasons[0].sentence


def test_a_refresh_is_promoted_when_nothing_speaks_against_it():
    policy = POLICY.model_copy(
        update={"refresh": RefreshRule(worse_by_at_most=0.04, confidence=0.8)}
    )
    assert judge(evidence(EVEN, kind="refresh"), policy).outcome == "promote"
    assert judge(evidence(EVEN, kind="change"), policy).outcome == "inconclusive"


def test_a_refresh_that_is_proven_worse_is_kept_out_although_it_is_within_the_margin():
    policy = POLICY.model_copy(update={"refresh": RefreshRule(worse_by_at_most=0.5)})
    verdict = judge(evidence(BAD, kind="refresh"), policy)
    assert verdict.outcome == "keep"
    assert verdict.comparisons[0].improvement.lower > -0.5 * 0.25


def test_a_refresh_that_may_be_worse_than_the_margin_is_inconclusive():
    policy = POLICY.model_copy(update={"refresh": RefreshRule(worse_by_at_most=0.001)})
    assert judge(evidence(EVEN, kind="refresh"), policy).outcome == "inconclusive"


def test_a_refresh_turns_at_the_margin_in_percent_of_the_champions_value():
    lower = judge(evidence(EVEN, kind="refresh"), POLICY).comparisons[0].improvement.lower
    outcomes = [
        judge(
            evidence(EVEN, kind="refresh"),
            POLICY.model_copy(update={"refresh": RefreshRule(worse_by_at_most=share)}),
        ).outcome
        for share in (-lower / 0.25 * 0.999, -lower / 0.25 * 1.001)
    ]
    assert outcomes == ["inconclusive", "promote"]


def test_the_same_answers_are_a_fair_refresh_and_no_change():
    assert judge(evidence([0.0] * 7, kind="refresh"), POLICY).outcome == "promote"
    assert judge(evidence([0.0] * 7, kind="change"), POLICY).outcome == "keep"


def test_a_first_model_is_judged_as_a_change_against_the_constant():
    verdict = judge(evidence(GOOD, kind="first", champion=None), POLICY)
    assert verdict.outcome == "promote"
    assert verdict.comparisons[0].improvement.confidence == 0.95
    assert "At 95 % confidence v8 is better than the constant." in verdict.reasons[0].sentence
    assert judge(evidence(EVEN, kind="first", champion=None), POLICY).outcome == "inconclusive"


def test_percents_are_of_the_champions_value():
    rule = POLICY.model_copy(update={"change": ChangeRule(better_with_confidence=0.6)})
    spread = [0.02, -0.02] * 4
    upper = judge(evidence(spread), rule).comparisons[0].improvement.upper
    assert (
        judge(
            evidence(spread),
            rule.model_copy(update={"worthwhile": upper / 0.25 * 1.001}),
        ).outcome
        == "keep"
    )
    assert (
        judge(
            evidence(spread),
            rule.model_copy(update={"worthwhile": upper / 0.25 * 0.999}),
        ).outcome
        == "inconclusive"
    )


def test_a_slice_that_is_proven_worse_beyond_its_limit_blocks():
    verdict = judge(evidence([0.1] * 4 + [0.11] * 4, gains_at={"JFK": [-0.04, -0.05] * 4}), POLICY)
    assert verdict.outcome == "keep"
    assert verdict.reasons[0].rule == "slice origin"
    assert "`origin = JFK`" in verdict.reasons[0].sentence
    assert "It is proven worse by more than the limit of 0.03." in verdict.reasons[0].sentence


def test_a_slice_that_is_proven_worse_within_its_limit_warns():
    verdict = judge(evidence([0.1] * 4 + [0.11] * 4, gains_at={"JFK": [-0.01, -0.012] * 4}), POLICY)
    assert verdict.outcome == "promote"
    assert any(
        "It is proven worse, but not by more than the limit of 0.03." in sentence
        for sentence in reasons(verdict, "warn")
    )


def test_a_slice_that_only_looks_worse_neither_blocks_nor_warns():
    verdict = judge(evidence([0.1] * 4 + [0.11] * 4, gains_at={"JFK": [-0.1, 0.05] * 4}), POLICY)
    assert verdict.outcome == "promote"
    assert not reasons(verdict, "warn")


def test_a_slice_with_too_few_rows_is_said_and_does_not_block():
    policy = POLICY.model_copy(
        update={"slices": SliceRule(by=("origin",), min_rows=500, max_worsening=0.001)}
    )
    verdict = judge(evidence([0.05, 0.06] * 3 + [0.05], gains_at={"JFK": [-0.02] * 7}), policy)
    assert verdict.outcome == "promote"
    assert reasons(verdict, "unknown") == [
        "2 of 2 values were not judged (fewer than 500 rows or 5 effective days, "
        "or only one label): `JFK`, `LGA`."
    ]


@pytest.mark.parametrize("kind", ["refresh", "change", "first"])
def test_a_slice_column_that_the_rows_lack_keeps_a_better_model_from_being_promoted(kind):
    policy = POLICY.model_copy(update={"slices": SliceRule(by=("orign",), min_rows=50)})
    champion = None if kind == "first" else 7
    verdict = judge(evidence(GOOD, kind=kind, champion=champion), policy)
    assert verdict.outcome == "inconclusive"
    assert verdict.reasons[0].rule == "slice orign"
    assert "slices of `orign`, and the test rows have no such column" in verdict.reasons[0].sentence
    assert "Correct `gate.slices.by`" in verdict.reasons[0].sentence
    assert verdict.comparisons  # the figures are there all the same


def test_a_slice_column_that_the_rows_lack_does_not_save_a_worse_model():
    policy = POLICY.model_copy(update={"slices": SliceRule(by=("orign",), min_rows=50)})
    assert judge(evidence(BAD), policy).outcome == "keep"


def test_missing_values_are_a_slice_of_their_own():
    origin = np.array([None, "JFK"] * 350, dtype=object)
    verdict = judge(evidence(GOOD, slices={"origin": origin}), POLICY)
    assert [comparison.where for comparison in verdict.comparisons] == [
        "all rows",
        "origin = (missing)",
        "origin = JFK",
    ]


def test_a_guardrail_beyond_its_limit_blocks_a_better_model():
    policy = POLICY.model_copy(update={"guardrails": {"accuracy": 0.01}})
    better = scored(GOOD)
    # a fifth of the rows end just on the wrong side of 0.5, so that their loss changes little
    wrong = (np.arange(700) % 5 == 0) | (np.arange(700) % 101 == 0)
    labels, scores = np.asarray(better["labels"]), np.asarray(better["challenger_scores"])
    champion = np.where(labels == 1, 0.501, 0.499)
    scores = np.where(wrong, np.where(labels == 1, 0.499, 0.501), scores)
    verdict = judge(evidence(GOOD, champion_scores=champion, challenger_scores=scores), policy)
    assert verdict.comparisons[0].improvement.lower > 0
    assert verdict.outcome == "keep"
    assert verdict.reasons[0].rule == "guardrail accuracy"


def test_a_guardrail_that_cannot_be_judged_makes_a_better_model_inconclusive():
    policy = POLICY.model_copy(update={"guardrails": {"roc_auc": 0.01}})
    labels = np.array([1] * 100 + [0] * 600)  # all positives on one day
    right = np.where(labels == 1, 0.9, 0.1)
    verdict = judge(
        evidence(
            GOOD,
            labels=labels,
            challenger_scores=np.clip(right + np.arange(700) % 7 / 100, 0, 1),
        ),
        policy,
    )
    assert verdict.comparisons[0].improvement.lower > 0
    assert verdict.outcome == "inconclusive"
    assert verdict.reasons[0].rule == "guardrail roc_auc"


def test_guardrails_and_slices_share_one_family():
    assert holm([0.01, 0.04, 0.03], 0.05) == [True, False, False]
    assert holm([0.01, 0.02, 0.03], 0.05) == [True, True, True]
    assert holm([], 0.05) == []


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"overlap_rows": 3}, "3 of 700 test rows were used to train or select a model"),
        ({"keys": [0, *range(699)]}, "700 test rows have 699 different keys"),
        ({"keys": [None, *range(699)]}, "700 test rows have 699 different keys"),
        ({"keys": range(699)}, "differ in length: 699 keys, 700 labels"),
        ({"labels": [1] * 700}, "all 700 test labels are the same"),
        ({"labels": [None, *[1, 0] * 349, 1]}, "labels must be finite"),
        (
            {"champion_scores": [float("nan")] * 700},
            "the champion's scores must be finite",
        ),
        (
            {"challenger_scores": [float("nan")] * 700},
            "the challenger's scores must be finite",
        ),
        ({"challenger_scores": [0.5] * 699}, "differ in length"),
        ({"groups": ["2013-07-01"] * 700}, "at least 2 groups"),
        ({"groups": [None] * 700}, "every row needs a group"),
        ({"slices": {"origin": ["JFK"]}}, "1 values of origin"),
        ({"keys": [[1]] * 700}, "the keys cannot be judged"),
        ({"keys": [[1], *range(699)]}, "found values of the type list"),
        ({"keys": {"a": 1}}, "the keys cannot be judged"),
        ({"groups": [{"day": 1}] * 700}, "the groups cannot be judged"),
        (
            {"slices": {"origin": [["JFK"], ["JFK", "LGA"]] * 350}},
            "the values of origin cannot be judged",
        ),
        (
            {"challenger_scores": ["0.9"] * 700},
            "the challenger's scores must be numbers, found values of the type str",
        ),
        (
            {"champion_scores": ["0.9", 0.9] * 350},
            "the champion's scores must be numbers, found values of the type str",
        ),
        ({"challenger_scores": [10**400] * 700}, "the challenger's scores must be numbers"),
        ({"challenger_scores": [0.5 + 0j] * 700}, "the challenger scores cannot be judged"),
        (
            {"challenger_scores": np.ma.masked_all(700)},
            "the challenger's scores must be finite, 700 of 700",
        ),
        ({"labels": ["1", "0"] * 350}, "labels must be numbers"),
        (
            {"groups": np.repeat(["1", "2", "3", "4"], 175)},
            "worth 4.0 days of equal size: at least 5 are needed",
        ),
        (
            {"groups": ["1"] * 400 + [str(day) for day in range(300)]},
            "at least 5 are needed, so use more days",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["refresh", "change"])
def test_evidence_at_fault_is_inconclusive_and_says_why(changed, says, kind):
    verdict = judge(evidence(GOOD, kind=kind, **changed), POLICY)
    assert verdict.outcome == "inconclusive"
    assert says in verdict.reasons[0].sentence
    assert verdict.digest.startswith("sha256:")


def test_faults_decide_before_any_number_is_read():
    faulty = Faulty(
        Subject("flight-delay", "refresh", 8, 7, SNAPSHOT), ("model.onnx is altered", "b.")
    )
    verdict = judge(faulty, POLICY)
    assert (verdict.outcome, verdict.comparisons) == ("inconclusive", ())
    assert [reason.sentence for reason in verdict.reasons] == ["model.onnx is altered.", "b."]


def test_rows_at_fault_say_nothing_about_a_narrower_schema():
    narrower = evidence(BAD, overlap_rows=3, schema_problems=("feature snow is new",))
    assert isinstance(narrower, Faulty)
    assert [reason.rule for reason in judge(narrower, POLICY).reasons] == ["evidence"]


def test_fewer_rows_than_the_policy_wants_are_inconclusive_with_figures():
    policy = POLICY.model_copy(update={"slices": SliceRule(min_rows=701)})
    verdict = judge(evidence(GOOD), policy)
    assert verdict.outcome == "inconclusive"
    assert "700 test rows are too few: the policy asks for 701." in verdict.reasons[0].sentence
    assert verdict.comparisons


def test_a_challenger_that_refuses_what_the_champion_accepts_is_kept_out():
    verdict = judge(evidence(GOOD, schema_problems=("feature snow is new and required",)), POLICY)
    assert verdict.outcome == "keep"
    assert verdict.reasons[0].rule == "schema"


def test_what_the_interval_speaks_of_is_said():
    verdict = judge(evidence(GOOD), POLICY)
    assert "the intervals describe these 7 days, not future days" in verdict.reasons[-1].sentence


@pytest.mark.parametrize(
    ("shift", "says"),
    [
        (0.0, ["0.0 % of the test rows get the opposite answer (threshold 0.5)."]),
        (0.05, ["100.0 % of the test rows get the opposite answer (threshold 0.5)."]),
    ],
)
def test_how_many_callers_would_be_told_the_other_thing_is_said(shift, says):
    found = judge(
        evidence(
            GOOD, champion_scores=np.full(700, 0.45), challenger_scores=np.full(700, 0.46 + shift)
        ),
        POLICY,
    )
    assert [reason.sentence for reason in found.reasons if reason.rule == "churn"] == says


def test_a_score_of_exactly_one_half_is_false_as_in_the_accuracy():
    same = evidence(GOOD, champion_scores=np.full(700, 0.45), challenger_scores=np.full(700, 0.5))
    policy = POLICY.model_copy(update={"guardrails": {"accuracy": 0.5}})
    found = judge(same, policy)
    accuracy = next(one for one in found.comparisons if one.metric == "accuracy")
    assert accuracy.champion == accuracy.challenger
    assert "0.0 % of the test rows get the opposite answer (threshold 0.5)." in [
        reason.sentence for reason in found.reasons
    ]


def test_a_first_model_changes_no_callers_answer():
    found = judge(evidence(GOOD, kind="first", champion=None), POLICY)
    assert not [reason for reason in found.reasons if reason.rule == "churn"]


def test_the_verdict_is_one_value_whatever_machine_asks():
    first, second = judge(evidence(GOOD), POLICY), judge(evidence(GOOD), POLICY)
    assert first.digest == second.digest
    other_policy = POLICY.model_copy(update={"worthwhile": 0.02})
    assert first.digest != judge(evidence(GOOD), other_policy).digest
    assert canonical_json(first.model_dump(mode="json"))


def test_more_days_show_smaller_differences():
    comparison = judge(evidence(EVEN), POLICY).comparisons[0]
    assert smallest_difference(comparison, groups=28) < smallest_difference(comparison) / 1.9
    needed = more_groups_needed(comparison, 0.008)
    assert needed is not None
    assert (
        smallest_difference(comparison, groups=7 + needed)
        <= 0.008
        < smallest_difference(comparison, groups=6 + needed)
    )
    assert more_groups_needed(comparison, 1.0) == 0
    assert more_groups_needed(comparison, 0) is None


@pytest.mark.parametrize("policy", [{"metric": "mae"}, {"guardrails": {"rmse": 1.0}}])
def test_a_policy_of_another_task_is_inconclusive_and_says_so(policy):
    verdict = judge(evidence(GOOD), GatePolicy(**policy))
    assert verdict.outcome == "inconclusive"
    assert (
        "was trained for binary_classification: retrain the model." in verdict.reasons[0].sentence
    )


def test_churn_of_a_regression_counts_moves_beyond_the_policys_amount():
    rows = scored(GOOD)
    minutes = {"labels": np.arange(700) % 90.0, "champion_scores": np.full(700, 30.0)}
    moved = np.where(np.arange(700) < 70, 36.0, 30.0)
    subject = Subject("arrival-delay", "refresh", 8, 7, SNAPSHOT)
    found = evidence_of(subject, REGRESSION, **{**rows, **minutes, "challenger_scores": moved})
    verdict = judge(found, GatePolicy(metric="mae", churn=(5, "minutes")))
    assert verdict.comparisons[0].champion == pytest.approx(np.mean(np.abs(minutes["labels"] - 30)))
    assert "10.0 % of the test rows move by more than 5; the median row moves by 0." in [
        reason.sentence for reason in verdict.reasons
    ]


def with_fixed_test(gains, fixed_gains, *, known: int = 0) -> Evidence:
    fixed = evidence(fixed_gains)
    return replace(evidence(gains), fixed_test=FixedTestRows(fixed.rows, known))


def test_harm_that_is_proven_on_the_fixed_test_blocks():
    verdict = judge(with_fixed_test(GOOD, BAD), POLICY)
    assert (verdict.outcome, verdict.reasons[0].rule) == ("keep", "fixed test")
    assert "worsens by 0.024" in verdict.reasons[0].sentence
    assert "on the fixed test (700 rows). It is proven worse by more" in verdict.reasons[0].sentence
    assert [one.where for one in verdict.comparisons][:2] == ["all rows", "fixed test"]


@pytest.mark.parametrize("fixed_gains", [EVEN, GOOD])
def test_a_fixed_test_without_proven_harm_lets_a_better_model_pass(fixed_gains):
    verdict = judge(with_fixed_test(GOOD, fixed_gains), POLICY)
    assert verdict.outcome == "promote"
    assert any("on the fixed test" in sentence for sentence in reasons(verdict, "pass"))


def test_a_fixed_test_that_the_champion_was_trained_on_is_not_judged_and_says_so():
    verdict = judge(with_fixed_test(GOOD, BAD, known=12), POLICY)
    assert verdict.outcome == "promote"
    assert "champion was trained on 12 of its rows" in reasons(verdict, "unknown")[0]


def test_a_fixed_test_that_cannot_be_compared_promotes_nothing():
    verdict = judge(with_fixed_test(GOOD, GOOD[:1]), POLICY)
    assert (verdict.outcome, verdict.reasons[0].rule) == ("inconclusive", "fixed test")
