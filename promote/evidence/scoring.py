"""A verified model scores the test rows. Wrong bytes are a fault of the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from promote.gate.words import names
from retrain.contract import Snapshot
from retrain.errors import BadColumn, ModelRefused
from retrain.model.arrow import columns_of_rows
from retrain.model.folder import CARD_FILE, NETWORK_FILE, ModelFolder, read_folder
from retrain.model.program import Program


class UnusableModel(ValueError):
    """The model's bytes are not what was registered, or cannot answer. A retry changes nothing."""


@dataclass(frozen=True)
class Contender:
    """One version of the model registry, on this disk."""

    version: int
    folder: Path
    """The model folder, downloaded."""
    model_digest: str
    """As registered (challenger) or released (champion)."""
    snapshot: Snapshot
    """As its run recorded it."""


def verified_model(model: str, role: str, contender: Contender) -> ModelFolder:
    """Return the model that the contender's folder holds.

    Raises:
        UnusableModel: A file is missing, altered or no model, or the card is of another model or
            snapshot. The message names the role, `challenger` or `champion`.
    """
    who = f"the {role} v{contender.version}"
    try:
        verified = read_folder(contender.folder, digest=contender.model_digest)
    except ModelRefused as error:
        problem = str(error).replace(f"{contender.folder}/", "")
        raise UnusableModel(f"{who}: {problem}") from error
    card, recorded = verified.card, contender.snapshot.snapshot_id
    if card.model != model:
        found = f"{CARD_FILE} is of the model {card.model!r}"
        raise UnusableModel(f"{who}: {found}, expected was {model!r}")
    if card.snapshot_id != recorded:
        raise UnusableModel(
            f"{who} was trained on snapshot {card.snapshot_id} by its card, "
            f"and on {recorded} by its run"
        )
    return verified


def score(role: str, model: ModelFolder, rows: pa.Table) -> NDArray[np.float64]:
    """Return the first output of the card for each row.

    Raises:
        UnusableModel: The network cannot be loaded or cannot answer these rows, or a column is
            missing or has another type than its feature. The message names the role.
    """
    io = model.card.io
    features = [feature.name for feature in io.features]
    if missing := [name for name in features if name not in rows.column_names]:
        raise UnusableModel(f"the {role} needs columns that the snapshot lacks: {names(missing)}")
    cannot = f"the {role} cannot score the test rows"
    try:
        columns = columns_of_rows(io.features, rows)
        program = Program(model.network, io)
    except (BadColumn, ModelRefused) as error:
        raise UnusableModel(f"{cannot}: {error}") from error
    try:
        return program.answer(columns)[io.outputs[0].name].astype(np.float64)
    except Exception as error:  # onnxruntime's errors share no public class
        digest = f"{NETWORK_FILE} of {model.card.technique} has the right digest"
        raise UnusableModel(f"{cannot}: {digest} and cannot score them: {error}") from error
