"""Whether a challenger may replace the champion: `judge(evidence, policy)`. Pure.

Nothing that is missing, not a number or at fault is ever `promote`: the gate decides on evidence about the difference, and says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from promote.contract import Kind, Outcome, Reason, Verdict
from promote.gate.harm import Harm, JudgedRows, judge_harm
from promote.gate.plain_columns import OddColumn, plain_column
from promote.gate.rules import confidence_of, decide
from promote.gate.words import names
from retrain.comparison.intervals import MIN_EFFECTIVE_GROUPS
from retrain.comparison.metrics import NotComparable, says_true
from retrain.contract import Comparison, Digest, Feature, ModelSchema, digest_of_json
from retrain.spec.model_file import GatePolicy


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the gate sees: both models' scores of the same test rows, and whatever is wrong with them."""

    model: str
    kind: Kind
    challenger: int
    champion: int | None
    snapshot_id: Digest
    keys: ArrayLike
    """Of each test row; twice the same is a fault."""
    labels: ArrayLike
    groups: ArrayLike
    champion_scores: ArrayLike
    challenger_scores: ArrayLike
    slices: Mapping[str, ArrayLike] = field(default_factory=dict)
    """The columns of `policy.slices.by`, as far as the test rows have them."""
    groups_are: str = "days"
    seen_rows: int = 0
    """Test rows that either model was trained or selected on."""
    missing_columns: tuple[str, ...] = ()
    """Columns that the champion needs and the snapshot lacks."""
    schema_problems: tuple[str, ...] = ()
    """Inputs that the champion accepts and the challenger does not."""
    faults: tuple[str, ...] = ()
    """Sentences: a corrupt model file, a digest that does not match, …"""

    def columns(self) -> dict[str, ArrayLike]:
        """Return every column of the test rows by the name that sentences use."""
        return {
            "keys": self.keys,
            "labels": self.labels,
            "groups": self.groups,
            "champion scores": self.champion_scores,
            "challenger scores": self.challenger_scores,
            **{values_of(name): values for name, values in self.slices.items()},
        }


def judge(evidence: Evidence, policy: GatePolicy) -> Verdict:
    """Return the verdict of DESIGN.md section 6; its first reason is the one that decided."""
    refused = tuple(
        Reason(rule="schema", outcome="block", sentence=f"{problem}.")
        for problem in evidence.schema_problems
    )
    found = _rows(evidence)
    if not isinstance(found, JudgedRows):
        return _verdict(evidence, policy, "inconclusive", (), (*found, *refused))
    rows = found
    try:
        main = rows.compare(policy.metric, confidence=confidence_of(evidence.kind, policy))
    except NotComparable as error:
        return _verdict(
            evidence, policy, "inconclusive", (), (_unknown("evidence", f"{error}."), *refused)
        )
    too_small = _too_small(main, policy, evidence.groups_are)
    decision = decide(evidence.kind, main, policy, evidence.groups_are)
    harm = judge_harm(rows, policy, evidence.groups_are)
    outcome, reasons = _combined(decision.outcome, decision.reason, refused, too_small, harm)
    scope = f"the intervals speak of these {main.groups} {evidence.groups_are}, not of next week; neighbouring {evidence.groups_are} resemble each other."
    notes = (*_churn(evidence, rows), Reason(rule="scope", outcome="pass", sentence=scope))
    return _verdict(evidence, policy, outcome, (main, *harm.comparisons), (*reasons, *notes))


def verdict_digest(verdict: Verdict) -> str:
    """Return the verdict's content address: what release.yaml and the registry's tag carry."""
    return digest_of_json(verdict.model_dump(mode="json"))


def schema_problems(champion: ModelSchema, challenger: ModelSchema) -> tuple[str, ...]:
    """Return, as sentences, which inputs the champion accepts and the challenger would refuse, and which answers would be missing.

    >>> distance = Feature(name="distance", type="number")
    >>> schema_problems(ModelSchema(features=(), outputs=()), ModelSchema(features=(distance,), outputs=()))
    ('feature distance is new and required: callers of today do not send it',)
    """
    before = {feature.name: feature for feature in champion.features}
    after = {feature.name: feature for feature in challenger.features}
    problems = [
        f"feature {name} is gone: callers of today send it, and it would be refused as unknown"
        for name in before
        if name not in after
    ]
    for name, feature in after.items():
        if name in before:
            problems.extend(_narrowings(before[name], feature))
        elif feature.required:
            problems.append(f"feature {name} is new and required: callers of today do not send it")
    answers = {output.name for output in challenger.outputs}
    problems.extend(
        f"output {output.name} is gone: callers of today read it"
        for output in champion.outputs
        if output.name not in answers
    )
    return tuple(problems)


def _narrowings(before: Feature, after: Feature) -> list[str]:
    """Return what of one feature is refused that was accepted; an integer is a number too."""
    name, problems = before.name, []
    if before.type != after.type and (before.type, after.type) != ("integer", "number"):
        problems.append(f"feature {name} was of type {before.type} and is {after.type}")
    if after.required and not before.required:
        problems.append(f"feature {name} was optional and is required")
    if after.minimum is not None and (before.minimum is None or after.minimum > before.minimum):
        problems.append(
            f"feature {name} had {_limit('minimum', before.minimum)} and has {_limit('minimum', after.minimum)}"
        )
    if after.maximum is not None and (before.maximum is None or after.maximum < before.maximum):
        problems.append(
            f"feature {name} had {_limit('maximum', before.maximum)} and has {_limit('maximum', after.maximum)}"
        )
    return problems


def _limit(which: str, value: float | None) -> str:
    return f"no {which}" if value is None else f"the {which} {value:g}"


def _rows(evidence: Evidence) -> JudgedRows | tuple[Reason, ...]:
    """Return the test rows, or why no figure can be computed or trusted."""
    if known := _known_faults(
        evidence
    ):  # gathering stopped there: what else is missing follows from it
        return known
    columns: dict[str, NDArray[Any]] = {}
    odd = []
    for name, values in evidence.columns().items():
        try:
            columns[name] = plain_column(values)
        except OddColumn as fault:
            odd.append(_unknown("evidence", f"the {name} cannot be judged: {fault}."))
    if odd:
        return tuple(odd)
    if faults := _faults(evidence, columns):
        return faults
    return JudgedRows(
        labels=columns["labels"],
        champion=columns["champion scores"],
        challenger=columns["challenger scores"],
        groups=columns["groups"],
        slices={name: columns[values_of(name)] for name in evidence.slices},
    )


def values_of(column: str) -> str:
    """Return what a slice's column is called in `Evidence.columns`."""
    return f"values of {column}"


def _churn(evidence: Evidence, rows: JudgedRows) -> tuple[Reason, ...]:
    """Return how many callers would be told the other thing, whoever is right; the constant of a first verdict tells nobody anything."""
    if evidence.kind == "first":
        return ()
    share = float(np.mean(says_true(rows.champion) != says_true(rows.challenger)))
    return (
        Reason(
            rule="churn",
            outcome="pass",
            sentence=f"{100 * share:.1f} % of the test rows change sides of 0.5.",
        ),
    )


def _known_faults(evidence: Evidence) -> tuple[Reason, ...]:
    found = [
        _unknown("evidence", fault if fault.endswith(".") else f"{fault}.")
        for fault in evidence.faults
    ]
    if evidence.missing_columns:
        found.append(
            _unknown(
                "evidence",
                f"the champion needs columns that the snapshot lacks: {names(evidence.missing_columns)}.",
            )
        )
    return tuple(found)


def _faults(evidence: Evidence, columns: Mapping[str, NDArray[Any]]) -> tuple[Reason, ...]:
    """Return what of the columns, each by itself in order, makes any figure on them unfair or impossible."""
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        listed = ", ".join(f"{length:,} {name}" for name, length in lengths.items())
        return (_unknown("evidence", f"the columns of the test rows differ in length: {listed}."),)
    rows, found = lengths["keys"], []
    if evidence.seen_rows:
        sentence = f"{evidence.seen_rows:,} of {rows:,} test rows were in training or validation of one of the models: no figure on them is fair."
        found.append(_unknown("evidence", sentence))
    keys = columns["keys"].tolist()
    distinct = {key for key in keys if key is not None and key == key}  # noqa: PLR0124 - only NaN differs from itself
    if len(distinct) != rows:
        found.append(
            _unknown(
                "evidence",
                f"the {rows:,} test rows have {len(distinct):,} different keys: some are missing or twice there.",
            )
        )
    if rows and len(set(columns["labels"].tolist())) == 1:
        found.append(
            _unknown(
                "evidence",
                f"all {rows:,} test labels are the same: nothing tells a good model from a bad one.",
            )
        )
    return tuple(found)


def _too_small(main: Comparison, policy: GatePolicy, groups_are: str) -> tuple[Reason, ...]:
    found = []
    if main.rows < policy.slices.min_rows:
        found.append(
            _unknown(
                "rows",
                f"{main.rows:,} test rows are too few to judge, the policy wants {policy.slices.min_rows:,}.",
            )
        )
    if main.effective_groups < MIN_EFFECTIVE_GROUPS:
        has = f"the {main.groups} {groups_are} of the test are worth {main.effective_groups:.1f} equal ones"
        found.append(
            _unknown(
                "rows",
                f"{has}, below {MIN_EFFECTIVE_GROUPS} nothing is proven: use more {groups_are}.",
            )
        )
    return tuple(found)


def _combined(
    outcome: Outcome,
    decided: Reason,
    refused: tuple[Reason, ...],
    too_small: tuple[Reason, ...],
    harm: Harm,
) -> tuple[Outcome, tuple[Reason, ...]]:
    """Return the verdict's outcome and its reasons, the deciding ones first: too small, then blocked, then something unjudged, then the rule's."""
    if too_small:
        return "inconclusive", (*too_small, decided, *refused, *harm.reasons)
    if refused or (harm.is_blocking and outcome != "keep"):
        blocking = tuple(reason for reason in harm.reasons if reason.outcome == "block")
        others = tuple(reason for reason in harm.reasons if reason.outcome != "block")
        return "keep", (*refused, *blocking, decided, *others)
    if harm.unjudged and outcome == "promote":
        others = tuple(reason for reason in harm.reasons if reason not in harm.unjudged)
        return "inconclusive", (*harm.unjudged, decided, *others)
    return outcome, (decided, *harm.reasons)


def _unknown(rule: str, sentence: str) -> Reason:
    return Reason(rule=rule, outcome="unknown", sentence=sentence)


def _verdict(
    evidence: Evidence,
    policy: GatePolicy,
    outcome: Outcome,
    comparisons: tuple[Comparison, ...],
    reasons: tuple[Reason, ...],
) -> Verdict:
    return Verdict(
        outcome=outcome,
        kind=evidence.kind,
        model=evidence.model,
        challenger=evidence.challenger,
        champion=evidence.champion,
        snapshot_id=evidence.snapshot_id,
        policy_digest=policy.policy_digest,
        comparisons=comparisons,
        reasons=reasons,
    )
