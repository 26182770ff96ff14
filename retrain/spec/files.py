"""Reads the folder of models: a YAML and the SQL beside it, one pair a model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from retrain.errors import InvalidSpec, Mistake, UnknownModel
from retrain.spec.model_file import ModelSpec, parse_spec


@dataclass(frozen=True)
class CheckedModels:
    """The models without mistakes, and the mistakes of the others."""

    specs: tuple[ModelSpec, ...]
    mistakes: tuple[Mistake, ...]


def load_model(folder: Path, name: str) -> ModelSpec:
    """Return the spec of the model called `name`.

    Raises:
        UnknownModel: No YAML of the folder says `name: <name>`.
        InvalidSpec: It does, and has mistakes.
    """
    return read_model(_file_of(folder, name))


def read_model(path: Path) -> ModelSpec:
    """Return the spec of one YAML file.

    Raises:
        InvalidSpec: With every mistake and its line.
    """
    text = path.read_text(encoding="utf-8")
    query_line = re.search(r"(?m)^query:\s*[\"']?([A-Za-z0-9_.-]+)", text)
    query = path.parent / query_line[1] if query_line else None
    query_text = query.read_text(encoding="utf-8") if query and query.is_file() else None
    return parse_spec(text, path=str(path), query_text=query_text)


def check_models(folder: Path, name: str | None) -> CheckedModels:
    """Return what is right and wrong with one model, or with all of the folder.

    Raises:
        UnknownModel: There is no such model, or none at all.
    """
    specs: list[ModelSpec] = []
    mistakes: list[Mistake] = []
    for path in [_file_of(folder, name)] if name else list(_files(folder)):
        try:
            specs.append(read_model(path))
        except InvalidSpec as error:
            mistakes += error.mistakes
    return CheckedModels(tuple(specs), tuple(mistakes))


def _files(folder: Path) -> Iterator[Path]:
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise UnknownModel(f"no YAML in {folder}; set RETRAIN_MODELS to the folder of the models")
    yield from paths


def _file_of(folder: Path, name: str) -> Path:
    """Search for the name as text: a YAML with mistakes must be found too."""
    line = re.compile(rf"(?m)^name:\s*[\"']?{re.escape(name)}[\"']?\s*(#.*)?$")
    paths = list(_files(folder))
    for path in paths:
        if line.search(path.read_text(encoding="utf-8")):
            return path
    raise UnknownModel(
        f"no YAML in {folder} has the name `{name}`;"
        f" there are {', '.join(path.name for path in paths)}"
    )
