"""A block's answers are its own, whatever its neighbours hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrain.contract import ModelCard
from retrain.model.program import CHUNK_ROWS
from serving.contract import Block, BlockError
from serving.model import Model
from tests.grounds.model_folders import make_model_folder


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ModelCard]:
    folder = tmp_path_factory.mktemp("model")
    return folder, make_model_folder(folder)


@pytest.fixture(scope="module")
def model(original: tuple[Path, ModelCard]) -> Model:
    return Model.load(original[0], digest=original[1].model_digest)


def block(rows: int, *, seed: int = 0, **changed: Any) -> Block:
    random = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        "carrier": random.choice(["AA", "UA", "B6", "unknown", ""], rows).tolist(),
        "distance": random.uniform(0, 3000, rows).tolist(),
        "hour": random.integers(0, 24, rows).astype(float).tolist(),
        "weekend": random.integers(0, 2, rows).astype(float).tolist(),
        "wind_speed": [
            None if value < 5 else float(value) for value in random.uniform(0, 20, rows)
        ],
    }
    return Block(
        columns={
            name: column for name, column in {**columns, **changed}.items() if column is not None
        }
    )


def test_warm_up_answers_through_the_path_of_a_call(model: Model) -> None:
    model.warm_up()


def test_answers_are_probabilities_one_a_row(model: Model) -> None:
    (answer,) = model.answer([block(50)], max_rows=50)
    assert isinstance(answer, dict)
    assert list(answer) == ["probability"]
    assert len(answer["probability"]) == 50
    assert all(0 <= each <= 1 for each in answer["probability"])
    assert len(set(answer["probability"])) > 5


@pytest.mark.parametrize(
    "sizes", [[1], [1, 1, 1], [3, CHUNK_ROWS, 1], [CHUNK_ROWS - 1, 2], [CHUNK_ROWS * 2 + 7, 5]]
)
def test_a_blocks_answers_do_not_depend_on_its_neighbours(model: Model, sizes: list[int]) -> None:
    blocks = [block(rows, seed=seed) for seed, rows in enumerate(sizes)]
    together = model.answer(blocks, max_rows=10_000)
    for each, answer in zip(blocks, together, strict=True):
        (alone,) = model.answer([each], max_rows=10_000)
        assert isinstance(alone, dict)
        assert isinstance(answer, dict)
        np.testing.assert_allclose(answer["probability"], alone["probability"], atol=1e-6, rtol=0)


def test_a_bad_block_is_answered_with_its_fault_and_its_neighbours_with_their_answers(
    model: Model,
) -> None:
    good, other = block(3, seed=1), block(2, seed=2)
    answers = model.answer([good, block(2, distance=None), other, block(11)], max_rows=10)
    assert [
        answer.status if isinstance(answer, BlockError) else len(answer["probability"])
        for answer in answers
    ] == [3, 400, 2, 413]
    assert answers[2] == model.answer([other], max_rows=10)[0]


def test_a_block_that_the_model_itself_cannot_compute_harms_no_neighbour(model: Model) -> None:
    surrogate = block(2).model_copy(
        update={"columns": {**block(2).columns, "carrier": ["\ud800", "UA"]}}
    )
    bad, good = model.answer([surrogate, block(2)], max_rows=10)
    assert isinstance(bad, BlockError)
    assert bad.status == 500
    assert good == model.answer([block(2)], max_rows=10)[0]


def test_no_block_is_no_answer(model: Model) -> None:
    assert model.answer([], max_rows=10) == []
