"""Evidence for the gate: both models score the challenger's test rows.

Wrong models or rows become `Faulty`. Rows that cannot be read now are an exception, and the caller
tries again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from promote.contract import Kind
from promote.evidence.scoring import Contender, UnusableModel, score, verified_model
from promote.gate.evidence import Evidence, Faulty, FixedTestRows, Subject, evidence_of
from promote.gate.schema_change import schema_problems
from retrain.comparison.metrics import metric_named
from retrain.contract import Snapshot
from retrain.model.folder import ModelFolder
from retrain.spec.model_file import GatePolicy
from retrain.tasks.table import TASKS

SplitName = Literal["train", "validation", "test", "fixed_test"]
ReadSplit = Callable[[Snapshot, SplitName, tuple[str, ...] | None], pa.Table]
"""Reads the given columns of a split; with None all columns that the query returned."""


def gather(
    model: str,
    challenger: Contender,
    champion: Contender | None,
    policy: GatePolicy,
    *,
    had_release: bool,
    read: ReadSplit,
) -> Faulty | Evidence:
    """Return the evidence about the challenger against the champion.

    Args:
        model: The model's name.
        challenger: The registered version.
        champion: The version that main releases; None when main has no release.
        policy: Main's; names the slices.
        had_release: Whether a release of this model ever served.
        read: Reads splits. Its exceptions are outages and pass through.
    """
    subject = Subject(
        model=model,
        kind="first" if champion is None else "change",
        challenger=challenger.version,
        champion=None if champion is None else champion.version,
        snapshot_id=challenger.snapshot.snapshot_id,
    )
    if champion is None and had_release:
        fault = f"main has no release of {model}, but had one before. Restore that release first."
        return Faulty(subject, (fault,))
    try:
        new = verified_model(model, "challenger", challenger)
        old = None if champion is None else verified_model(model, "champion", champion)
        subject = replace(subject, kind=_kind(new, old))
        contenders = (challenger,) if champion is None else (challenger, champion)

        def on(split: SplitName, fair_to: Sequence[Contender]) -> Faulty | Evidence:
            rows = read(challenger.snapshot, split, None)
            return evidence_of(
                subject,
                TASKS[new.card.task],
                **_columns(challenger.snapshot, policy, rows),
                champion_scores=_constant(policy.metric, challenger.snapshot, read, rows.num_rows)
                if old is None
                else score("champion", old, rows),
                challenger_scores=score("challenger", new, rows),
                overlap_rows=_overlap_rows(challenger.snapshot, fair_to, rows, read),
                schema_problems=() if old is None else schema_problems(old.card.io, new.card.io),
            )

        evidence = on("test", contenders)
        if isinstance(evidence, Faulty) or challenger.snapshot.fixed_test is None:
            return evidence
        fixed = on("fixed_test", (challenger,))
        if isinstance(fixed, Faulty):
            return Faulty(subject, tuple(f"in the fixed test, {fault}" for fault in fixed.faults))
        known = _overlap_rows(
            challenger.snapshot, contenders[1:], read(challenger.snapshot, "fixed_test", None), read
        )
        return replace(evidence, fixed_test=FixedTestRows(fixed.rows, known))
    except UnusableModel as fault:
        return Faulty(subject, (str(fault),))


def _kind(challenger: ModelFolder, champion: ModelFolder | None) -> Kind:
    if champion is None:
        return "first"
    return "refresh" if challenger.card.recipe_digest == champion.card.recipe_digest else "change"


def _columns(snapshot: Snapshot, policy: GatePolicy, rows: pa.Table) -> dict[str, Any]:
    """Return the arguments of `evidence_of` that the test rows hold."""
    needed = (snapshot.key, snapshot.label, snapshot.groups)
    if absent := [name for name in needed if name not in rows.column_names]:
        raise UnusableModel(f"the snapshot's test rows lack the columns {', '.join(absent)}")
    groups = _cast(rows, snapshot.groups, pa.string(), "group").to_pylist()
    labels = _cast(rows, snapshot.label, pa.float64(), "label")
    columns = [name for name in policy.slices.by if name in rows.column_names]
    return {
        "keys": _key_texts(rows, snapshot.key).to_pylist(),
        "labels": pc.fill_null(labels, float("nan")).to_numpy(),
        "groups": groups,
        "groups_are": "days" if _are_days(set(groups)) else "groups",
        "slices": {name: rows.column(name).to_pylist() for name in columns},
    }


def _are_days(groups: Iterable[str | None]) -> bool:
    try:
        return all(group is not None and date.fromisoformat(group) for group in groups)
    except ValueError:
        return False


def _constant(metric: str, snapshot: Snapshot, read: ReadSplit, rows: int) -> NDArray[np.float64]:
    """Return the metric's constant of the training and validation labels, for each test row."""
    chunks = []
    for split in ("train", "validation"):
        labels = read(snapshot, split, (snapshot.label,))
        chunks += _cast(labels, snapshot.label, pa.float64(), "label").chunks
    labels_as_numbers = pa.chunked_array(chunks, pa.float64()).to_numpy()
    present = labels_as_numbers[~np.isnan(labels_as_numbers)]
    answer = metric_named(metric).constant(present) if len(present) else float("nan")
    return np.full(rows, answer)


def _overlap_rows(
    snapshot: Snapshot, contenders: Sequence[Contender], rows: pa.Table, read: ReadSplit
) -> int:
    """Return how many of the snapshot's rows are, by key, in training or validation of a model."""
    key = snapshot.key
    keys = _key_texts(rows, key)
    overlap = np.zeros(rows.num_rows, dtype=bool)
    for contender in contenders:
        if contender.snapshot.key != key:
            raise UnusableModel(
                f"the rows of v{contender.version} have the key {contender.snapshot.key}, the test "
                f"rows have the key {key}. Whether a test row was trained on cannot be checked"
            )
        for split in ("train", "validation"):
            trained = _key_texts(read(contender.snapshot, split, (key,)), key)
            overlap |= pc.is_in(keys, value_set=trained.combine_chunks()).to_numpy()
    return int(overlap.sum())


def _key_texts(rows: pa.Table, key: str) -> pa.ChunkedArray:
    """Return the keys as texts, so that a key whose type changed can be compared."""
    return _cast(rows, key, pa.string(), "key")


def _cast(rows: pa.Table, name: str, kind: pa.DataType, part: str) -> pa.ChunkedArray:
    column = rows.column(name)
    try:
        return column.cast(kind)
    except pa.ArrowException as error:  # its text repeats the value
        holds = f"`{name}`, the {part}, holds {column.type}, which cannot be read as {kind}"
        raise UnusableModel(f"{holds}. Correct the model's query") from error
