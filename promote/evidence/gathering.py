"""Both models score the challenger's test rows; what is wrong with models or rows becomes a fault that the gate reads.

An outage (rows that cannot be read now) is an exception and is retried; bytes that are wrong stay wrong and make the verdict inconclusive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from promote.contract import Kind
from promote.evidence.scoring import UnusableModel, score, verified_model
from promote.gate.judge import Evidence, schema_problems
from retrain.contract import Snapshot
from retrain.model.folder import ModelFolder
from retrain.spec.model_file import GatePolicy
from retrain.tasks.binary import BINARY

SplitName = Literal["train", "validation", "test"]
ReadSplit = Callable[[Snapshot, SplitName, tuple[str, ...] | None], pa.Table]
"""Reads the rows of a split: the columns named, or with None all that the query returned."""


@dataclass(frozen=True)
class Contender:
    """One version of the model registry, at hand."""

    version: int
    folder: Path
    """The model folder, downloaded."""
    model_digest: str
    """As registered (challenger) or released (champion)."""
    snapshot: Snapshot
    """What its run says it was trained on; compared with its card."""


def gather(
    model: str,
    challenger: Contender,
    champion: Contender | None,
    policy: GatePolicy,
    *,
    had_release: bool,
    read: ReadSplit,
) -> Evidence:
    """Return what the gate needs to know about the challenger against the champion.

    Args:
        model: The model's name.
        challenger: What was registered.
        champion: What main names; None when it names nothing.
        policy: Main's; names the slices.
        had_release: Whether main's history ever held a release of this model.
        read: Reads splits; what it raises is an outage and goes through.
    """
    known = _without_rows(model, challenger, champion)
    if champion is None and had_release:
        return replace(
            known,
            faults=(
                f"main names no release of {model}, its history does: restore that release first",
            ),
        )
    try:
        new = _verified(model, "challenger", challenger)
        old = None if champion is None else _verified(model, "champion", champion)
        known = replace(
            known,
            kind=_kind(new, old),
            schema_problems=schema_problems(old.card.io, new.card.io) if old else (),
        )
        rows = read(challenger.snapshot, "test", None)
        missing = () if old is None else _missing_columns(old, rows)
        if missing:
            return replace(known, missing_columns=missing)
        known = _with_rows(known, challenger.snapshot, policy, rows)
        before = (
            _training_rate(challenger.snapshot, read, rows.num_rows)
            if old is None
            else _scores("champion", old, rows)
        )
        contenders = [challenger] if champion is None else [challenger, champion]
        return replace(
            known,
            challenger_scores=_scores("challenger", new, rows),
            champion_scores=before,
            seen_rows=_seen_rows(challenger.snapshot, rows, contenders, read),
        )
    except UnusableModel as fault:
        return replace(known, faults=(str(fault),))


def _without_rows(model: str, challenger: Contender, champion: Contender | None) -> Evidence:
    """Return the evidence before anything is known; a change has the strictest rule."""
    nothing: tuple[float, ...] = ()
    return Evidence(
        model=model,
        kind="first" if champion is None else "change",
        challenger=challenger.version,
        champion=None if champion is None else champion.version,
        snapshot_id=challenger.snapshot.snapshot_id,
        keys=nothing,
        labels=nothing,
        groups=nothing,
        champion_scores=nothing,
        challenger_scores=nothing,
    )


def _verified(model: str, role: str, contender: Contender) -> ModelFolder:
    try:
        verified = verified_model(
            contender.folder, model=model, model_digest=contender.model_digest
        )
    except UnusableModel as error:
        raise UnusableModel(f"the {role} v{contender.version}: {error}") from error
    if verified.card.snapshot_id != contender.snapshot.snapshot_id:
        found = f"was trained on snapshot {verified.card.snapshot_id}, its run holds {contender.snapshot.snapshot_id}"
        raise UnusableModel(f"the {role} v{contender.version} {found}")
    return verified


def _kind(challenger: ModelFolder, champion: ModelFolder | None) -> Kind:
    if champion is None:
        return "first"
    return "refresh" if challenger.card.recipe_digest == champion.card.recipe_digest else "change"


def _missing_columns(model: ModelFolder, rows: pa.Table) -> tuple[str, ...]:
    return tuple(
        feature.name for feature in model.card.io.features if feature.name not in rows.column_names
    )


def _with_rows(known: Evidence, snapshot: Snapshot, policy: GatePolicy, rows: pa.Table) -> Evidence:
    """Return the evidence with everything of the rows but the scores."""
    needed = (snapshot.key, snapshot.label, snapshot.groups)
    if absent := [name for name in needed if name not in rows.column_names]:
        raise UnusableModel(f"the snapshot's test rows lack the columns {', '.join(absent)}")
    groups = _objects(_cast(rows, snapshot.groups, pa.string(), "group"))
    labels = _cast(rows, snapshot.label, pa.float64(), "label")
    return replace(
        known,
        keys=_objects(_key_texts(rows, snapshot.key)),
        labels=pc.fill_null(labels, float("nan")).to_numpy(),
        groups=groups,
        groups_are="days" if _are_days(set(groups.tolist())) else "groups",
        slices={
            column: _objects(rows.column(column))
            for column in policy.slices.by
            if column in rows.column_names
        },
    )


def _are_days(groups: Iterable[str | None]) -> bool:
    try:
        return all(group is not None and date.fromisoformat(group) for group in groups)
    except ValueError:
        return False


def _scores(role: str, model: ModelFolder, rows: pa.Table) -> NDArray[np.float64]:
    if missing := _missing_columns(model, rows):
        raise UnusableModel(
            f"the {role} needs columns that its own snapshot lacks: {', '.join(missing)}"
        )
    try:
        return score(model, rows)
    except UnusableModel as error:
        raise UnusableModel(f"the {role} cannot score the test rows: {error}") from error


def _training_rate(snapshot: Snapshot, read: ReadSplit, rows: int) -> NDArray[np.float64]:
    """Return the constant of the training and validation labels, once for each row."""
    labels = [
        _cast(read(snapshot, split, (snapshot.label,)), snapshot.label, pa.float64(), "label")
        for split in ("train", "validation")
    ]
    return np.full(rows, BINARY.constant(np.concatenate([column.to_numpy() for column in labels])))


def _seen_rows(
    snapshot: Snapshot, rows: pa.Table, contenders: Iterable[Contender], read: ReadSplit
) -> int:
    """Return how many test rows are, by key, in training or validation of a contender."""
    keys = _key_texts(rows, snapshot.key)
    seen = np.zeros(rows.num_rows, dtype=bool)
    for contender in contenders:
        theirs = contender.snapshot.key
        if theirs != snapshot.key:
            raise UnusableModel(
                f"v{contender.version} has rows keyed by {theirs}, the test rows by {snapshot.key}: unseen rows cannot be proven"
            )
        for split in ("train", "validation"):
            trained = _key_texts(read(contender.snapshot, split, (theirs,)), theirs)
            seen |= pc.is_in(keys, value_set=trained.combine_chunks()).to_numpy()
    return int(seen.sum())


def _key_texts(rows: pa.Table, key: str) -> pa.ChunkedArray:
    """Return the keys as texts: snapshots of different types of one key can be compared."""
    return _cast(rows, key, pa.string(), "key")


def _cast(rows: pa.Table, name: str, kind: pa.DataType, part: str) -> pa.ChunkedArray:
    column = rows.column(name)
    try:
        return column.cast(kind)
    except pa.ArrowException as error:  # its text repeats the value
        found = f"`{name}`, the {part}, holds {column.type}, which cannot be read as {kind}"
        raise UnusableModel(f"{found}: correct the model's query") from error


def _objects(column: pa.ChunkedArray) -> NDArray[Any]:
    values = np.empty(len(column), dtype=object)
    for place, value in enumerate(column.to_pylist()):  # `values[:] =` would take a list apart
        values[place] = value
    return values
