"""A model folder is verified before it is loaded, and a block's answers are its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrain.contract import ModelAbout, ModelCard, canonical_json, digest_of_bytes
from serving.contract import Block, BlockError
from serving.errors import ModelAltered, ModelMissing, ModelUnusable
from serving.model import CHUNK_ROWS, Model, verify
from tests.grounds.model_folders import ABOUT, make_model_folder


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ModelCard]:
    folder = tmp_path_factory.mktemp("model")
    return folder, make_model_folder(folder)


@pytest.fixture
def folder(original: tuple[Path, ModelCard], tmp_path: Path) -> Path:
    return Path(shutil.copytree(original[0], tmp_path / "model"))


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


def rewrite(folder: Path, **changed: Any) -> str:
    """Change the card, and return the digest of the changed one: what a hostile release would name."""
    card = canonical_json({**json.loads((folder / "model.json").read_bytes()), **changed})
    (folder / "model.json").write_bytes(card)
    return digest_of_bytes(card)


# Verification


def test_files_that_the_card_does_not_list_are_never_opened(
    folder: Path, original: tuple[Path, ModelCard]
) -> None:
    (folder / "MLmodel").symlink_to("/nowhere")
    card, files = verify(folder, digest=original[1].model_digest)
    assert (card, list(files)) == (original[1], ["model.onnx"])


def test_a_changed_card_and_a_changed_network_are_refused_by_name(
    folder: Path, original: tuple[Path, ModelCard]
) -> None:
    released = original[1].model_digest
    network = folder / "model.onnx"
    network.write_bytes(network.read_bytes()[:-1] + b"\0")
    with pytest.raises(
        ModelAltered, match=rf"{network} is sha256:.* was released: this model is not served"
    ):
        verify(folder, digest=released)
    rewrite(folder, technique="another")
    with pytest.raises(ModelAltered, match=r"model\.json is sha256:"):
        verify(folder, digest=released)


def test_a_missing_folder_or_file_says_where_to_look(
    folder: Path, original: tuple[Path, ModelCard], tmp_path: Path
) -> None:
    released = original[1].model_digest
    with pytest.raises(
        ModelMissing,
        match=r"nowhere/model\.json should be a file of the model and is not one: check SERVING_MODEL_FOLDER",
    ):
        verify(tmp_path / "nowhere", digest=released)
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelMissing, match=r"model\.onnx should be a file"):
        verify(folder, digest=released)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/hostname", "..", ".", "", "sub/file", "a\\b", "a\0b"]
)
def test_a_card_cannot_name_a_file_outside_the_folder(folder: Path, name: str) -> None:
    (folder.parent / "secret").write_bytes(b"secret")
    digest = rewrite(folder, files={name: digest_of_bytes(b"secret")})
    with pytest.raises(ModelUnusable, match="a file's name has no folder in it"):
        verify(folder, digest=digest)


def test_a_link_is_not_a_file_of_the_model(folder: Path, original: tuple[Path, ModelCard]) -> None:
    network = folder / "model.onnx"
    network.rename(folder.parent / "elsewhere")
    network.symlink_to(folder.parent / "elsewhere")
    with pytest.raises(ModelMissing, match=r"model\.onnx should be a file"):
        verify(folder, digest=original[1].model_digest)


@pytest.mark.parametrize(
    "content", [b"{}", b"[" * 100_000, b"not json", b"\xff", b'{"format_version": 2}']
)
def test_a_card_that_is_none_is_refused_even_with_the_released_digest(
    folder: Path, content: bytes
) -> None:
    (folder / "model.json").write_bytes(content)
    with pytest.raises(
        ModelUnusable, match=r"model\.json has the released digest and is not a model card"
    ):
        verify(folder, digest=digest_of_bytes(content))


def test_a_network_that_onnxruntime_cannot_load_or_that_takes_other_inputs_is_refused(
    folder: Path,
) -> None:
    features = json.loads((folder / "model.json").read_bytes())["io"]["features"]
    outputs = [{"name": "probability"}]
    digest = rewrite(folder, io={"features": features[1:], "outputs": outputs})
    with pytest.raises(ModelUnusable, match="export the model again"):
        Model.load(folder, digest=digest)
    (folder / "model.onnx").write_bytes(b"no network")
    digest = rewrite(folder, files={"model.onnx": digest_of_bytes(b"no network")})
    with pytest.raises(ModelUnusable, match="onnxruntime cannot load it"):
        Model.load(folder, digest=digest)
    digest = rewrite(folder, files={})
    with pytest.raises(ModelUnusable, match=r"lists .* and no model\.onnx"):
        Model.load(folder, digest=digest)


def test_a_folder_says_what_it_is_about_and_an_older_one_says_nothing(
    folder: Path, original: tuple[Path, ModelCard]
) -> None:
    assert Model.load(folder, digest=original[1].model_digest).about == ModelAbout()
    later = canonical_json({**json.loads(ABOUT.to_bytes()), "a_field_of_later": 1})
    (folder / "about.json").write_bytes(later)
    digest = rewrite(folder, files={**original[1].files, "about.json": digest_of_bytes(later)})
    assert Model.load(folder, digest=digest).about == ABOUT
    (folder / "about.json").write_bytes(b"{")
    digest = rewrite(folder, files={**original[1].files, "about.json": digest_of_bytes(b"{")})
    with pytest.raises(
        ModelUnusable, match=r"about\.json has the released digest and cannot be read"
    ):
        Model.load(folder, digest=digest)


# Answers


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
