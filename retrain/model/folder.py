"""The model folder: its files' names, how it is written, and how its bytes are verified."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from retrain.contract import ModelAbout, ModelCard, digest_of_bytes
from retrain.errors import ModelAltered, ModelMissing, ModelUnusable

CARD_FILE, NETWORK_FILE, ABOUT_FILE = "model.json", "model.onnx", "about.json"


@dataclass(frozen=True)
class ModelFolder:
    """A verified model folder: each file's bytes have the digest that the card says."""

    card: ModelCard
    network: bytes
    about: ModelAbout


def write_folder(folder: Path, card: ModelCard, network: bytes, about: ModelAbout) -> None:
    """Write `model.onnx`, `about.json` and `model.json` to a folder, which is made if needed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NETWORK_FILE).write_bytes(network)
    (folder / ABOUT_FILE).write_bytes(about.to_bytes())
    (folder / CARD_FILE).write_bytes(card.to_bytes())


def read_folder(folder: Path, *, digest: str) -> ModelFolder:
    """Verify a model folder and return its content. Files that the card does not list stay closed.

    Args:
        folder: Holds `model.json`.
        digest: Of `model.json`, as registered or released.

    Raises:
        ModelMissing: A file of the model is not in the folder.
        ModelAltered: A file has another digest than was registered or released.
        ModelUnusable: The bytes are as expected and are no model that this version can read.
    """
    content = _read(folder, CARD_FILE)
    _compare(folder / CARD_FILE, content, digest)
    try:
        card = ModelCard.model_validate_json(content)
    except ValidationError as error:
        raise ModelUnusable(
            f"{folder / CARD_FILE} has the expected digest and is not a model card of format 1 "
            f"or 2. "
            f"It has {error.error_count()} problems; the first: {error.errors()[0]['msg']}."
        ) from error
    files = {name: _read(folder, name) for name in card.files}
    for name, content in files.items():
        _compare(folder / name, content, card.files[name])
    if NETWORK_FILE not in files:
        listed = f"{folder / CARD_FILE} lists {sorted(files)} and no {NETWORK_FILE}"
        raise ModelUnusable(f"{listed}: export the model again")
    return ModelFolder(card, files[NETWORK_FILE], _about(files.get(ABOUT_FILE)))


def _about(content: bytes | None) -> ModelAbout:
    """Return what `about.json` says. Older folders lack the file; unknown fields are ignored."""
    if content is None:
        return ModelAbout()
    try:
        return ModelAbout.model_validate_json(content, extra="ignore")
    except ValidationError as error:
        where = error.errors()[0]["loc"]
        raise ModelUnusable(
            f"{ABOUT_FILE} has the expected digest and cannot be read at {where}: "
            "export the model again"
        ) from error


def _read(folder: Path, name: str) -> bytes:
    if name in {"", ".", ".."} or Path(name).name != name or "\\" in name or "\0" in name:
        raise ModelUnusable(
            f"{folder / CARD_FILE} lists {name!r}: a file's name has no folder in it"
        )
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise ModelMissing(
            f"{path} should be a file of the model and is not one. Download the folder again; in "
            "a server check SERVING_MODEL_FOLDER and the image's model layer."
        )
    return path.read_bytes()


def _compare(path: Path, content: bytes, expected: str) -> None:
    found = digest_of_bytes(content)
    if found != expected:
        raise ModelAltered(f"{path} is {found}, expected was {expected}: this model is not used")
