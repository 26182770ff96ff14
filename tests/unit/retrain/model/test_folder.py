"""A model folder is verified before anything in it is used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from retrain.contract import ModelAbout, ModelCard, canonical_json, digest_of_bytes
from retrain.errors import ModelAltered, ModelMissing, ModelUnusable
from retrain.model.folder import read_folder
from retrain.model.program import Program
from tests.grounds.model_folders import ABOUT, make_model_folder


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ModelCard]:
    folder = tmp_path_factory.mktemp("model")
    return folder, make_model_folder(folder)


@pytest.fixture
def folder(original: tuple[Path, ModelCard], tmp_path: Path) -> Path:
    return Path(shutil.copytree(original[0], tmp_path / "model"))


def load(folder: Path, *, digest: str) -> Program:
    read = read_folder(folder, digest=digest)
    return Program(read.network, read.card.io)


def rewrite(folder: Path, **changed: Any) -> str:
    """Change the card, and return its new digest, as a hostile release would name it."""
    card = canonical_json({**json.loads((folder / "model.json").read_bytes()), **changed})
    (folder / "model.json").write_bytes(card)
    return digest_of_bytes(card)


def test_files_that_the_card_does_not_list_are_never_opened(
    folder: Path, original: tuple[Path, ModelCard]
) -> None:
    (folder / "MLmodel").symlink_to("/nowhere")
    assert read_folder(folder, digest=original[1].model_digest).card == original[1]


def test_a_changed_card_and_a_changed_network_are_refused_by_name(
    folder: Path, original: tuple[Path, ModelCard]
) -> None:
    released = original[1].model_digest
    network = folder / "model.onnx"
    network.write_bytes(network.read_bytes()[:-1] + b"\0")
    with pytest.raises(
        ModelAltered, match=rf"{network} is sha256:.*, expected was .*: this model is not used"
    ):
        read_folder(folder, digest=released)
    rewrite(folder, technique="another")
    with pytest.raises(ModelAltered, match=r"model\.json is sha256:"):
        read_folder(folder, digest=released)


def test_a_missing_folder_or_file_says_where_to_look(
    folder: Path, original: tuple[Path, ModelCard], tmp_path: Path
) -> None:
    released = original[1].model_digest
    with pytest.raises(
        ModelMissing,
        match=r"nowhere/model\.json should be a file of the model.*SERVING_MODEL_FOLDER",
    ):
        read_folder(tmp_path / "nowhere", digest=released)
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelMissing, match=r"model\.onnx should be a file"):
        read_folder(folder, digest=released)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/hostname", "..", ".", "", "sub/file", "a\\b", "a\0b"]
)
def test_a_card_cannot_name_a_file_outside_the_folder(folder: Path, name: str) -> None:
    (folder.parent / "secret").write_bytes(b"secret")
    digest = rewrite(folder, files={name: digest_of_bytes(b"secret")})
    with pytest.raises(ModelUnusable, match="a file's name has no folder"):
        read_folder(folder, digest=digest)


def test_a_link_is_not_a_file_of_the_model(folder: Path, original: tuple[Path, ModelCard]) -> None:
    network = folder / "model.onnx"
    network.rename(folder.parent / "elsewhere")
    network.symlink_to(folder.parent / "elsewhere")
    with pytest.raises(ModelMissing, match=r"model\.onnx should be a file"):
        read_folder(folder, digest=original[1].model_digest)


@pytest.mark.parametrize(
    "content", [b"{}", b"[" * 100_000, b"not json", b"\xff", b'{"format_version": 2}']
)
def test_a_card_that_is_none_is_refused_even_with_the_released_digest(
    folder: Path, content: bytes
) -> None:
    (folder / "model.json").write_bytes(content)
    with pytest.raises(
        ModelUnusable, match=r"model\.json has the expected digest and is not a model card"
    ):
        read_folder(folder, digest=digest_of_bytes(content))


def test_a_network_that_onnxruntime_cannot_load_or_that_takes_other_inputs_is_refused(
    folder: Path,
) -> None:
    features = json.loads((folder / "model.json").read_bytes())["io"]["features"]
    outputs = [{"name": "probability"}]
    digest = rewrite(folder, io={"features": features[1:], "outputs": outputs})
    with pytest.raises(ModelUnusable, match="export the model again"):
        load(folder, digest=digest)
    (folder / "model.onnx").write_bytes(b"no network")
    digest = rewrite(folder, files={"model.onnx": digest_of_bytes(b"no network")})
    with pytest.raises(ModelUnusable, match="onnxruntime cannot load it"):
        load(folder, digest=digest)
    digest = rewrite(folder, files={})
    with pytest.raises(ModelUnusable, match=r"lists .* and no model\.onnx"):
        load(folder, digest=digest)


def test_a_folder_says_what_it_is_about_and_an_older_one_says_nothing(
    folder: Path, original: tuple[Path, ModelCard]
) -> None:
    assert read_folder(folder, digest=original[1].model_digest).about == ModelAbout()
    later = canonical_json({**json.loads(ABOUT.to_bytes()), "a_field_of_later": 1})
    (folder / "about.json").write_bytes(later)
    digest = rewrite(folder, files={**original[1].files, "about.json": digest_of_bytes(later)})
    assert read_folder(folder, digest=digest).about == ABOUT
    (folder / "about.json").write_bytes(b"{")
    digest = rewrite(folder, files={**original[1].files, "about.json": digest_of_bytes(b"{")})
    with pytest.raises(
        ModelUnusable, match=r"about\.json has the expected digest and cannot be read"
    ):
        load(folder, digest=digest)
