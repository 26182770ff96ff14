"""A card of format 2 says where the network gives each output; format 1 means one place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from retrain.contract import ModelCard, ModelSchema, Output
from retrain.errors import ModelUnusable
from retrain.model.columns import columns_of
from retrain.model.folder import read_folder
from retrain.model.program import CHUNK_ROWS, Program
from tests.grounds.model_folders import FEATURES, make_model_folder

CELLS = {"carrier": ["UA", None], "distance": [900.0, 1.0], "hour": [9, 23], "weekend": [0, 1]}
COLUMNS = columns_of(FEATURES, {**CELLS, "wind_speed": [None, 4.0]})


@pytest.fixture(scope="module")
def card_and_network(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelCard, bytes]:
    folder = tmp_path_factory.mktemp("model")
    card = make_model_folder(folder)
    return card, read_folder(folder, digest=card.model_digest).network


def schema(*outputs: Output) -> ModelSchema:
    return ModelSchema(features=FEATURES, outputs=outputs)


def test_outputs_are_read_where_the_card_says(card_and_network: tuple[ModelCard, bytes]) -> None:
    card, network = card_and_network
    both = schema(
        Output(name="no", network_output="probabilities", column=0),
        Output(name="yes", network_output="probabilities", column=1),
        Output(name="label", network_output="label"),
    )
    answer = Program(network, both).answer(COLUMNS)
    as_format_1 = Program(network, card.io).answer(COLUMNS)["probability"]
    np.testing.assert_array_equal(answer["yes"], as_format_1)
    np.testing.assert_allclose(answer["no"] + answer["yes"], 1, atol=1e-6)
    np.testing.assert_array_equal(answer["label"], answer["yes"] > 0.5)
    assert {values.shape for values in answer.values()} == {(2,)}


def test_an_output_that_the_network_lacks_is_refused(
    card_and_network: tuple[ModelCard, bytes],
) -> None:
    lost = schema(Output(name="score", network_output="scores"))
    with pytest.raises(ModelUnusable, match="has no output scores"):
        Program(card_and_network[1], lost)


def test_chunks_do_not_change_answers(card_and_network: tuple[ModelCard, bytes]) -> None:
    card, network = card_and_network
    program = Program(network, card.io)
    many = {name: np.tile(column, (CHUNK_ROWS, 1)) for name, column in COLUMNS.items()}
    once, often = program.answer(COLUMNS)["probability"], program.answer(many)["probability"]
    np.testing.assert_allclose(often, np.tile(once, CHUNK_ROWS), atol=1e-6)


@pytest.mark.parametrize("version", [1, 2])
def test_a_card_is_of_one_format(version: int, tmp_path: Path) -> None:
    card = make_model_folder(tmp_path)
    named = Output(name="probability", network_output="probabilities", column=1)
    wrong = schema(*(card.io.outputs if version == 2 else [named]))
    content = {**card.model_dump(mode="json"), "io": wrong.model_dump(mode="json")}
    with pytest.raises(ValidationError, match="network_output"):
        ModelCard.model_validate({**content, "format_version": version})


def test_callers_are_not_told_how_to_read_the_network() -> None:
    probability = Output(name="probability", network_output="probabilities", column=1)
    public = schema(probability).for_callers().model_dump(mode="json")["outputs"]
    plain = schema(Output(name="probability")).model_dump(mode="json")["outputs"]
    assert (
        public
        == plain
        == [{"name": "probability", "description": "", "minimum": None, "maximum": None}]
    )
