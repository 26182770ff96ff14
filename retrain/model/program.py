"""A network, loaded by onnxruntime, and its answers by the names of the card's outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime

from retrain.contract import ModelSchema, Output
from retrain.errors import ModelUnusable
from retrain.model.columns import Columns, missing_rows, row_count, rows_between
from retrain.model.folder import CARD_FILE, NETWORK_FILE

Floats = np.ndarray[Any, np.dtype[np.float32]]
CHUNK_ROWS = 512
"""Rows in one call of onnxruntime. More rows gain no speed and hold more memory (docs/facts.md)."""
FORMAT_1 = ("probabilities", 1)
"""The network's output, and its column, that every card of format 1 means."""


class Program:
    """A loaded network. Answers depend on the rows only, to 1e-6 (docs/facts.md)."""

    def __init__(self, network: bytes, io: ModelSchema) -> None:
        """Load the network and compare its inputs and outputs with the card's.

        Raises:
            ModelUnusable: The bytes are no ONNX model, or one with other inputs or outputs.
        """
        self._features = io.features
        self._readings = {output.name: _reading(output) for output in io.outputs}
        self._asked = list(dict.fromkeys(name for name, _ in self._readings.values()))
        self._session = _session(network)
        expected = sorted(feature.name for feature in io.features)
        inputs = sorted(node.name for node in self._session.get_inputs())
        if inputs != expected:
            says = f"{NETWORK_FILE} takes {inputs}, {CARD_FILE} says {expected}"
            raise ModelUnusable(f"{says}: export the model again")
        outputs = {node.name for node in self._session.get_outputs()}
        if missing := sorted(set(self._asked) - outputs):
            says = f"{NETWORK_FILE} has no output {', '.join(missing)}"
            raise ModelUnusable(f"{says}: export the model again with zipmap off")

    def answer(self, columns: Columns) -> dict[str, Floats]:
        """Return, for each output of the card, an array of shape [N]."""
        found = dict(zip(self._asked, self.run(self._asked, columns), strict=True))
        return {output: _column(found[name], at) for output, (name, at) in self._readings.items()}

    def run(self, outputs: Sequence[str], columns: Columns) -> list[np.ndarray[Any, Any]]:
        """Return outputs of the network by the network's own names."""
        rows = row_count(columns)
        if rows <= CHUNK_ROWS:
            return list(self._session.run(outputs, columns))
        starts = range(0, rows, CHUNK_ROWS)
        chunks = [rows_between(columns, start, start + CHUNK_ROWS) for start in starts]
        parts = [self._session.run(outputs, chunk) for chunk in chunks]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    def warm_up(self) -> None:
        """Answer one row of missing values, and one chunk of such rows.

        Raises:
            ModelUnusable: The network cannot compute an answer.
        """
        for rows in (1, CHUNK_ROWS):
            try:
                self.answer(missing_rows(self._features, rows))
            except Exception as error:  # onnxruntime's errors share no public class
                raise ModelUnusable(
                    f"{NETWORK_FILE} cannot answer a row of missing values: {error}"
                ) from error


def _reading(output: Output) -> tuple[str, int | None]:
    """Return where the network gives an output; cards of format 1 do not say it."""
    return (output.network_output, output.column) if output.network_output else FORMAT_1


def _column(values: np.ndarray[Any, Any], column: int | None) -> Floats:
    return values.reshape(len(values)) if column is None else values[:, column]


def _session(network: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # One thread: rows are small, threads cost more than they compute, and replicas scale.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no public class
        raise ModelUnusable(
            f"{NETWORK_FILE} has the expected digest and onnxruntime cannot load it: {error}"
        ) from error
