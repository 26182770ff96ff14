"""Answers blocks of rows with a verified model; a bad block harms no other block."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

from retrain.model.columns import Columns, join, row_count
from retrain.model.folder import ModelFolder, read_folder
from retrain.model.program import Floats, Program
from serving.blocks import Unanswerable, columns_of_block
from serving.contract import Block, BlockError


class Model:
    """A loaded model: answers depend on the rows only, not on what they are joined with."""

    def __init__(self, folder: ModelFolder) -> None:
        """Load the network.

        Raises:
            ModelUnusable: See `Program`.
        """
        self.card, self.about = folder.card, folder.about
        self._program = Program(folder.network, folder.card.io)
        self.warm_up = self._program.warm_up

    @classmethod
    def load(cls, folder: Path, *, digest: str) -> Model:
        """Verify the folder and load the bytes that were verified.

        Raises:
            ModelRefused: See `read_folder` and `Program`.
        """
        return cls(read_folder(folder, digest=digest))

    def answer(
        self, blocks: Sequence[Block], *, max_rows: int
    ) -> list[dict[str, list[float]] | BlockError]:
        """Answer each block; the good blocks share one call. A bad block gets its error."""
        checked = [self._checked(block, max_rows) for block in blocks]
        good = [columns for columns in checked if not isinstance(columns, BlockError)]
        answers = iter(self._answers(good))
        return [block if isinstance(block, BlockError) else next(answers) for block in checked]

    def _checked(self, block: Block, max_rows: int) -> Columns | BlockError:
        try:
            return columns_of_block(block.columns, self.card.io.features, max_rows=max_rows)
        except Unanswerable as problem:
            return problem.error

    def _answers(self, blocks: list[Columns]) -> Iterable[dict[str, list[float]] | BlockError]:
        if not blocks:
            return []
        try:
            joined = self._program.answer(join(blocks))
        except Exception as problem:  # noqa: BLE001 - onnxruntime's errors share no public class
            if len(blocks) > 1:
                return [answer for block in blocks for answer in self._answers([block])]
            detail = f"the model could not compute this block: {problem}"
            return [BlockError(status=500, detail=detail)]
        ends = [*accumulate(map(row_count, blocks))]
        return [
            _answer({name: values[start:end] for name, values in joined.items()})
            for start, end in zip([0, *ends], ends, strict=False)
        ]


def _answer(outputs: dict[str, Floats]) -> dict[str, list[float]] | BlockError:
    for values in outputs.values():
        if not np.isfinite(values).all():
            detail = "the model answered a row of this block with a number that is not finite"
            return BlockError(status=500, detail=detail)
    return {name: values.tolist() for name, values in outputs.items()}
