"""A verified model scores the test rows. Wrong bytes are a fault of the evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from retrain.errors import BadColumn, ModelRefused
from retrain.model.arrow import columns_of_rows
from retrain.model.folder import CARD_FILE, NETWORK_FILE, ModelFolder, read_folder
from retrain.model.program import Program


class UnusableModel(ValueError):
    """The model's bytes are not what was registered, or cannot answer. A retry changes nothing."""


def verified_model(folder: Path, *, model: str, model_digest: str) -> ModelFolder:
    """Return the model that the folder holds.

    Raises:
        UnusableModel: A file is missing, altered or no model; the message names the file.
    """
    try:
        verified = read_folder(folder, digest=model_digest)
    except ModelRefused as error:
        raise UnusableModel(str(error).replace(f"{folder}/", "")) from error
    if verified.card.model != model:
        found = f"{CARD_FILE} is of the model {verified.card.model!r}"
        raise UnusableModel(f"{found}, expected was {model!r}")
    return verified


def score(model: ModelFolder, rows: pa.Table) -> NDArray[np.float64]:
    """Return the first output of the card for each row; the rows have every feature's column.

    Raises:
        UnusableModel: The network cannot be loaded or cannot answer these rows, or a column has
            another type than its feature.
    """
    io = model.card.io
    try:
        columns = columns_of_rows(io.features, rows)
        program = Program(model.network, io)
    except (BadColumn, ModelRefused) as error:
        raise UnusableModel(str(error)) from error
    return _answers(program, columns, io.outputs[0].name, model.card.technique)


def _answers(program: Program, columns: Any, output: str, technique: str) -> NDArray[np.float64]:
    try:
        return program.answer(columns)[output].astype(np.float64)
    except Exception as error:  # onnxruntime's errors share no public class
        digest = f"{NETWORK_FILE} of {technique} has the right digest"
        raise UnusableModel(f"{digest} and cannot score the test rows: {error}") from error
