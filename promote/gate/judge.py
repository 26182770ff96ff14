"""Whether a challenger may replace the champion: `judge(evidence, policy)`. Pure.

Faults come first: they are named before any number is read. Nothing that is missing or broken is
ever `promote`. docs/design.md has the rules.
"""

from __future__ import annotations

from dataclasses import asdict

from promote.contract import Outcome, Reason, Verdict
from promote.gate.evidence import Evidence, Faulty, Subject
from promote.gate.harm import Harm, judge_harm
from promote.gate.rules import confidence_of, decide
from promote.gate.words import metric_label
from retrain.comparison.intervals import MIN_EFFECTIVE_GROUPS
from retrain.comparison.metrics import metric_named
from retrain.comparison.ranking import NotComparable
from retrain.contract import Comparison
from retrain.spec.model_file import GatePolicy


def judge(evidence: Faulty | Evidence, policy: GatePolicy) -> Verdict:
    """Return the verdict; its first reason is the reason that decided."""
    subject = evidence.subject
    if isinstance(evidence, Faulty):
        faults = tuple(_unknown("evidence", f"{fault.rstrip('.')}.") for fault in evidence.faults)
        return _verdict(subject, policy, "inconclusive", (), faults)
    narrowings = tuple(
        Reason(rule="schema", outcome="block", sentence=f"{problem}.")
        for problem in evidence.schema_problems
    )
    rows = evidence.rows
    if odd := _metrics_of_other_tasks(evidence, policy):
        return _verdict(subject, policy, "inconclusive", (), odd)
    try:
        main = rows.compare(policy.metric, confidence=confidence_of(subject.kind, policy))
    except NotComparable as error:
        reasons = (_unknown("evidence", f"{error}."), *narrowings)
        return _verdict(subject, policy, "inconclusive", (), reasons)
    harm = judge_harm(rows, policy, evidence.fixed_test)
    outcome, reasons = _combined(
        *decide(subject, main, policy, rows.groups_are),
        narrowings,
        _too_small(main, policy, rows.groups_are),
        harm,
    )
    reasons = (*reasons, *_churn(evidence, policy), _scope(main, rows.groups_are))
    return _verdict(subject, policy, outcome, (main, *harm.comparisons), reasons)


def _metrics_of_other_tasks(evidence: Evidence, policy: GatePolicy) -> tuple[Reason, ...]:
    """Return a reason for each metric of main's policy that the challenger's task does not have."""
    return tuple(
        _unknown(
            "evidence",
            f"main's policy names {metric_label(name)}, and v{evidence.subject.challenger} was"
            f" trained for {evidence.task.name}: retrain the model.",
        )
        for name in (policy.metric, *policy.guardrails)
        if metric_named(name).takes not in evidence.task.takes
    )


def _churn(evidence: Evidence, policy: GatePolicy) -> tuple[Reason, ...]:
    """Return how many answers change, right or wrong; the first model replaces no model."""
    if evidence.subject.kind == "first":
        return ()
    beyond = policy.churn[0] if policy.churn else None
    rows = evidence.rows
    sentence = evidence.task.churn(rows.champion, rows.challenger, beyond=beyond)
    return (Reason(rule="churn", outcome="pass", sentence=sentence),)


def _scope(main: Comparison, groups_are: str) -> Reason:
    scope = f"the intervals describe these {main.groups} {groups_are}, not future {groups_are}"
    resemble = f"neighbouring {groups_are} resemble each other"
    return Reason(rule="scope", outcome="pass", sentence=f"{scope}; {resemble}.")


def _too_small(main: Comparison, policy: GatePolicy, groups_are: str) -> tuple[Reason, ...]:
    reasons = []
    if main.rows < policy.slices.min_rows:
        wanted = f"the policy asks for {policy.slices.min_rows:,}"
        reasons.append(_unknown("rows", f"{main.rows:,} test rows are too few: {wanted}."))
    if main.effective_groups < MIN_EFFECTIVE_GROUPS:
        worth = f"worth {main.effective_groups:.1f} {groups_are} of equal size"
        least = f"at least {MIN_EFFECTIVE_GROUPS} are needed, so use more {groups_are}"
        sentence = f"the {main.groups} {groups_are} of the test rows are {worth}: {least}."
        reasons.append(_unknown("rows", sentence))
    return tuple(reasons)


def _combined(
    outcome: Outcome,
    decided: Reason,
    narrowings: tuple[Reason, ...],
    too_small: tuple[Reason, ...],
    harm: Harm,
) -> tuple[Outcome, tuple[Reason, ...]]:
    """Return the verdict's outcome and reasons, the deciding reasons first.

    Too few rows decide before a block, a block before the rule, and the rule before what could not
    be judged: only a `promote` needs every guardrail and slice.
    """
    if too_small:
        return "inconclusive", (*too_small, decided, *narrowings, *harm.reasons)
    blocking = tuple(reason for reason in harm.reasons if reason.outcome == "block")
    if narrowings or (blocking and outcome != "keep"):
        others = tuple(reason for reason in harm.reasons if reason.outcome != "block")
        return "keep", (*narrowings, *blocking, decided, *others)
    if harm.unjudged and outcome == "promote":
        others = tuple(reason for reason in harm.reasons if reason not in harm.unjudged)
        return "inconclusive", (*harm.unjudged, decided, *others)
    return outcome, (decided, *harm.reasons)


def _unknown(rule: str, sentence: str) -> Reason:
    return Reason(rule=rule, outcome="unknown", sentence=sentence)


def _verdict(
    subject: Subject,
    policy: GatePolicy,
    outcome: Outcome,
    comparisons: tuple[Comparison, ...],
    reasons: tuple[Reason, ...],
) -> Verdict:
    return Verdict(
        outcome=outcome,
        **asdict(subject),
        policy_digest=policy.policy_digest,
        comparisons=comparisons,
        reasons=reasons,
    )
