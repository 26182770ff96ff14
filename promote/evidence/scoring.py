"""A model folder is verified against its digest, loaded by onnxruntime and asked for P(label is true). No pickle: ONNX is data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import ValidationError

from retrain.contract import Feature, ModelCard, digest_of_bytes

CARD, NETWORK, PROBABILITIES = "model.json", "model.onnx", "probabilities"
CHUNK_ROWS = 1024
"""Rows in one onnxruntime call; more gain nothing (docs/facts.md)."""


class UnusableModel(ValueError):
    """The model's bytes are not what was registered, or cannot answer; no retry mends that."""


@dataclass(frozen=True)
class VerifiedModel:
    """A card and a network whose bytes have the digests they should have."""

    card: ModelCard
    network: bytes


def verified_model(folder: Path, *, model: str, model_digest: str) -> VerifiedModel:
    """Return the model that the folder holds.

    Raises:
        UnusableModel: A file is missing, altered or not a model; the message names it.
    """
    content = _content(folder / CARD, model_digest)
    try:
        card = ModelCard.model_validate_json(content)
    except ValidationError as error:
        raise UnusableModel(
            f"{CARD} is no model card: {error.error_count()} problems, the first is {error.errors()[0]['msg']!r}"
        ) from error
    if card.model != model:
        raise UnusableModel(f"{CARD} is of the model {card.model!r}, expected was {model!r}")
    if NETWORK not in card.files:
        raise UnusableModel(f"{CARD} lists {sorted(card.files)} and no {NETWORK}")
    contents = {
        name: _content(folder / _plain(name), digest) for name, digest in card.files.items()
    }
    return VerifiedModel(card, contents[NETWORK])


def score(model: VerifiedModel, rows: pa.Table) -> NDArray[np.float64]:
    """Return P(label is true) of each row; the rows must have every feature's column.

    Raises:
        UnusableModel: The network cannot be loaded, a column is of the wrong type, or the network cannot answer these rows.
    """
    import onnxruntime  # noqa: PLC0415 - `promote --help` must not load it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    features = model.card.io.features
    inputs = {feature.name: network_column(feature, rows) for feature in features}
    try:
        session = onnxruntime.InferenceSession(
            model.network, options, providers=["CPUExecutionProvider"]
        )
        parts = [
            session.run(
                [PROBABILITIES],
                {name: column[start : start + CHUNK_ROWS] for name, column in inputs.items()},
            )[0][:, 1]
            for start in range(0, rows.num_rows, CHUNK_ROWS)
        ]
    except Exception as error:  # onnxruntime's errors share no public class
        raise UnusableModel(
            f"{NETWORK} of {model.card.technique} has the right digest and cannot score the test rows: {error}"
        ) from error
    return np.concatenate([np.empty(0), *parts]).astype(np.float64)


def network_column(feature: Feature, rows: pa.Table) -> NDArray[Any]:
    """Return a column as the network takes it, shape [N, 1]: texts with "" for missing, or float32 with NaN for missing.

    >>> network_column(Feature(name="carrier", type="category"), pa.table({"carrier": ["UA", None]})).tolist()
    [['UA'], ['']]
    """
    column = rows.column(feature.name)
    kind = pa.string() if feature.type == "category" else pa.float64()
    try:
        cast = column.cast(kind, safe=False)
    except pa.ArrowException as error:  # its text repeats the value
        found = f"`{feature.name}` holds {column.type}, which cannot be read as a {feature.type}"
        raise UnusableModel(f"{found}: correct the model's query") from error
    if feature.type == "category":
        return np.array(pc.fill_null(cast, "").to_pylist(), dtype=object).reshape(-1, 1)
    numbers = pc.fill_null(cast, float("nan"))
    cells: NDArray[Any] = numbers.to_numpy().astype(np.float32).reshape(-1, 1)
    return cells


def _content(path: Path, digest: str) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise UnusableModel(f"{path.name} is missing from the model folder")
    content = path.read_bytes()
    if digest_of_bytes(content) != digest:
        raise UnusableModel(f"{path.name} is {digest_of_bytes(content)}, registered was {digest}")
    return content


def _plain(name: str) -> str:
    if name in {"", ".", ".."} or Path(name).name != name or "\0" in name:
        raise UnusableModel(f"{CARD} lists {name!r}: a file's name has no folder in it")
    return name
