"""Verifies a model folder against the digest that was released, loads those very bytes, and answers blocks of rows.

Files that `model.json` does not list are never opened. No pickle: ONNX is data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from pydantic import ValidationError

from retrain.contract import ModelAbout, ModelCard, digest_of_bytes
from serving.blocks import Columns, Unanswerable, columns_of, join, row_count, rows_between
from serving.contract import Block, BlockError
from serving.errors import ModelAltered, ModelMissing, ModelUnusable

CARD = "model.json"
NETWORK = "model.onnx"
ABOUT = "about.json"
PROBABILITIES = "probabilities"
CHUNK_ROWS = 512
"""Rows in one onnxruntime call; more gain nothing (docs/facts.md, speed) and hold the memory of all of them."""


def verify(folder: Path, *, digest: str) -> tuple[ModelCard, dict[str, bytes]]:
    """Return the card and the bytes of the files it lists, each compared with its digest.

    Raises:
        ModelRefused: What was asked for is not there, or not what was released; the message names the file.
    """
    card_bytes = _read(folder, CARD)
    _compare(folder / CARD, card_bytes, digest)
    try:
        card = ModelCard.model_validate_json(card_bytes)
    except ValidationError as problem:
        raise ModelUnusable(
            f"{folder / CARD} has the released digest and is not a model card of format 1: {problem}"
        ) from problem
    files = {name: _read(folder, name) for name in card.files}
    for name, content in files.items():
        _compare(folder / name, content, card.files[name])
    return card, files


class Model:
    """A loaded model: answers depend on the rows only, not on what they are joined with (to 1e-6: docs/facts.md)."""

    def __init__(self, card: ModelCard, network: bytes, about: ModelAbout) -> None:
        """Load the network and check that it takes the card's features.

        Raises:
            ModelUnusable: It is no ONNX model, or one with other inputs or outputs than the card says.
        """
        self.card = card
        self.about = about
        self._session = _session(network)
        self._output = card.io.outputs[0].name
        taken = sorted(node.name for node in self._session.get_inputs())
        features = sorted(feature.name for feature in card.io.features)
        if taken != features:
            raise ModelUnusable(
                f"{NETWORK} takes {taken}, {CARD} says {features}: export the model again"
            )
        if PROBABILITIES not in [node.name for node in self._session.get_outputs()]:
            raise ModelUnusable(
                f"{NETWORK} has no output {PROBABILITIES!r}: export the model again with zipmap off"
            )

    @classmethod
    def load(cls, folder: Path, *, digest: str) -> Model:
        """Verify the folder and load the bytes that were verified.

        Raises:
            ModelRefused: See `verify`.
        """
        card, files = verify(folder, digest=digest)
        if NETWORK not in files:
            raise ModelUnusable(f"{folder / CARD} lists {sorted(files)} and no {NETWORK}")
        return cls(card, files[NETWORK], _about(files.get(ABOUT)))

    def answer(
        self, blocks: Sequence[Block], *, max_rows: int
    ) -> list[dict[str, list[float]] | BlockError]:
        """Answer each block, all good ones in one call; a bad one is answered with what is wrong with it and harms no other."""
        checked = [self._checked(block, max_rows) for block in blocks]
        good = [columns for columns in checked if not isinstance(columns, BlockError)]
        answers = iter(self._answers(good))
        return [block if isinstance(block, BlockError) else next(answers) for block in checked]

    def warm_up(self) -> None:
        """Answer one row of missing values and one chunk of them, through the same path as any caller's.

        Raises:
            ModelUnusable: The model cannot compute an answer.
        """
        empty = {
            f.name: "" if f.type == "category" else float("nan") for f in self.card.io.features
        }
        for rows in (1, CHUNK_ROWS):
            columns = {
                name: np.full((rows, 1), value, dtype=object if value == "" else np.float32)
                for name, value in empty.items()
            }
            try:
                self._run(columns)
            except Exception as problem:  # onnxruntime's errors share no public class; whichever it is, the model is not served
                raise ModelUnusable(
                    f"{NETWORK} cannot answer a row of missing values: {problem}"
                ) from problem

    def _checked(self, block: Block, max_rows: int) -> Columns | BlockError:
        try:
            return columns_of(block.columns, self.card.io.features, max_rows=max_rows)
        except Unanswerable as problem:
            return problem.error

    def _answers(self, blocks: list[Columns]) -> Iterable[dict[str, list[float]] | BlockError]:
        if not blocks:
            return []
        try:
            joined = self._run(join(blocks))
        except Exception as problem:  # noqa: BLE001  # onnxruntime's errors share no public class; one block's fault must stay its own
            if len(blocks) > 1:
                return [answer for block in blocks for answer in self._answers([block])]
            return [
                BlockError(status=500, detail=f"the model could not compute this block: {problem}")
            ]
        ends = [*accumulate(map(row_count, blocks))]
        return [
            self._answered(joined[start:end]) for start, end in zip([0, *ends], ends, strict=False)
        ]

    def _answered(
        self, probabilities: np.ndarray[Any, np.dtype[np.float32]]
    ) -> dict[str, list[float]] | BlockError:
        if not np.isfinite(probabilities).all():
            return BlockError(
                status=500,
                detail="the model answered a row of this block with a number that is not finite",
            )
        return {self._output: probabilities.tolist()}

    def _run(self, columns: Columns) -> np.ndarray[Any, np.dtype[np.float32]]:
        rows = row_count(columns)
        chunks = (
            [columns]
            if rows <= CHUNK_ROWS
            else [
                rows_between(columns, start, start + CHUNK_ROWS)
                for start in range(0, rows, CHUNK_ROWS)
            ]
        )
        parts = [self._session.run([PROBABILITIES], chunk)[0][:, 1] for chunk in chunks]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _about(content: bytes | None) -> ModelAbout:
    """Return what `about.json` says; folders written before it have none. Fields of later versions are ignored."""
    if content is None:
        return ModelAbout()
    try:
        return ModelAbout.model_validate_json(content, extra="ignore")
    except ValidationError as problem:
        where = problem.errors()[0]["loc"]
        raise ModelUnusable(
            f"{ABOUT} has the released digest and cannot be read at {where}: export the model again"
        ) from problem


def _session(network: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = (
        1  # rows are small: threads cost more than they compute, and replicas scale
    )
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    except Exception as problem:  # as above: whichever it is, the model is not served
        raise ModelUnusable(
            f"{NETWORK} has the released digest and onnxruntime cannot load it: {problem}"
        ) from problem


def _read(folder: Path, name: str) -> bytes:
    if name in {"", ".", ".."} or Path(name).name != name or "\\" in name or "\0" in name:
        raise ModelUnusable(f"{folder / CARD} lists {name!r}: a file's name has no folder in it")
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise ModelMissing(
            f"{path} should be a file of the model and is not one: check SERVING_MODEL_FOLDER and the image's model layer"
        )
    return path.read_bytes()


def _compare(path: Path, content: bytes, released: str) -> None:
    found = digest_of_bytes(content)
    if found != released:
        raise ModelAltered(
            f"{path} is {found} and {released} was released: this model is not served"
        )
