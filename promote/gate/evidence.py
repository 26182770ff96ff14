"""What the gate decides on: test rows that both models scored, or faults. Pure.

`evidence_of` checks the columns once. `Faulty` and `Evidence` are two types, so that no figure is
computed on rows that are wrong. The room `promote/evidence/` supplies the columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike, NDArray

from promote.contract import Kind
from promote.gate.plain_columns import OddColumn, plain_column
from retrain.comparison.intervals import compare
from retrain.contract import Comparison, Digest
from retrain.tasks.task import Task


@dataclass(frozen=True)
class Subject:
    """Which two models are compared."""

    model: str
    kind: Kind
    """`change`, the strictest, when the models' cards cannot be read."""
    challenger: int
    champion: int | None
    """None for the first release: the constant stands in for the champion."""
    snapshot_id: Digest

    @property
    def champion_name(self) -> str:
        """The champion as sentences name it."""
        return "the constant" if self.champion is None else f"v{self.champion}"


@dataclass(frozen=True, eq=False)
class JudgedRows:
    """The test rows, checked: arrays of plain values and of one length."""

    labels: NDArray[Any]
    champion: NDArray[Any]
    challenger: NDArray[Any]
    groups: NDArray[Any]
    slices: Mapping[str, NDArray[Any]]
    groups_are: str

    def compare(
        self, metric: str, *, confidence: float, where: str = "all rows", rows: Any = slice(None)
    ) -> Comparison:
        """Compare both models on some of the rows."""
        return compare(
            metric,
            self.labels[rows],
            self.champion[rows],
            self.challenger[rows],
            self.groups[rows],
            confidence=confidence,
            where=where,
        )


@dataclass(frozen=True)
class Faulty:
    """The models or their rows are wrong: nothing can be judged until a person mends the fault."""

    subject: Subject
    faults: tuple[str, ...]
    """At least one sentence."""


@dataclass(frozen=True, eq=False)
class FixedTestRows:
    """The rows that the challenger's model file keeps out of every training."""

    rows: JudgedRows
    known_to_champion: int
    """How many of them the champion was trained on, before the model file kept them out."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Both models' scores of the same test rows, which neither model was trained on."""

    subject: Subject
    rows: JudgedRows
    task: Task
    schema_problems: tuple[str, ...] = ()
    """See `schema_change.py`."""
    fixed_test: FixedTestRows | None = None
    """None when the challenger's model file has no fixed test."""


def evidence_of(
    subject: Subject,
    task: Task,
    *,
    keys: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike,
    champion_scores: ArrayLike,
    challenger_scores: ArrayLike,
    slices: Mapping[str, ArrayLike],
    groups_are: str = "days",
    overlap_rows: int = 0,
    schema_problems: tuple[str, ...] = (),
) -> Faulty | Evidence:
    """Return the rows as evidence, or what makes every figure on them impossible or unfair.

    Args:
        subject: Which models scored the rows.
        task: The challenger's.
        keys: One value a row, as in the other columns.
        labels: True or false (1 or 0), or numbers, as the task has them.
        groups: Such as the day.
        champion_scores: The answers of the champion or of the constant in its place.
        challenger_scores: The challenger's answers.
        slices: The columns of `policy.slices.by` that the test rows have.
        groups_are: What sentences call the groups.
        overlap_rows: How many of the rows are in training or validation of either model.
        schema_problems: See `schema_change.py`.
    """
    columns = {
        "keys": keys,
        "labels": labels,
        "groups": groups,
        "champion scores": champion_scores,
        "challenger scores": challenger_scores,
        **{f"values of {name}": values for name, values in slices.items()},
    }
    plain, faults = _plain_columns(columns)
    faults = faults or _faults_of(plain, overlap_rows)
    if faults:
        return Faulty(subject, tuple(faults))
    judged = JudgedRows(
        labels=plain["labels"],
        champion=plain["champion scores"],
        challenger=plain["challenger scores"],
        groups=plain["groups"],
        slices={name: plain[f"values of {name}"] for name in slices},
        groups_are=groups_are,
    )
    return Evidence(subject, judged, task, schema_problems)


def _plain_columns(
    columns: Mapping[str, ArrayLike],
) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Return the columns that can be judged, and a fault for each of the others."""
    plain: dict[str, NDArray[Any]] = {}
    faults: list[str] = []
    for name, values in columns.items():
        try:
            plain[name] = plain_column(values)
        except OddColumn as fault:
            faults.append(f"the {name} cannot be judged: {fault}.")
    return plain, faults


def _faults_of(columns: Mapping[str, NDArray[Any]], overlap_rows: int) -> list[str]:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        listed = ", ".join(f"{length:,} {name}" for name, length in lengths.items())
        return [f"the columns of the test rows differ in length: {listed}."]
    rows, faults = lengths["keys"], []
    if overlap_rows:
        trained = f"{overlap_rows:,} of {rows:,} test rows were used to train or select a model"
        faults.append(f"{trained}, so no figure on these rows is fair.")
    keys = columns["keys"].tolist()
    distinct = {key for key in keys if key is not None and key == key}  # noqa: PLR0124 - only NaN differs from itself
    if len(distinct) != rows:
        counts = f"{rows:,} test rows have {len(distinct):,} different keys"
        faults.append(f"{counts}: keys are missing or occur twice.")
    if rows and len(set(columns["labels"].tolist())) == 1:
        same = f"all {rows:,} test labels are the same"
        faults.append(f"{same}: such rows cannot tell a good model from a bad model.")
    return faults
