"""Reads the folder of models: a YAML and the SQL beside it, one pair a model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from retrain.errors import InvalidSpec, Mistake, UnknownModel
from retrain.spec.model_file import ModelSpec, parse_spec

_NAME = re.compile(r"(?m)^name:\s*[\"']?([^\s\"'#]+)[\"']?\s*(?:#.*)?$")
"""The line with a model's name, found as text."""


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
    text = _text_of(path)
    query_line = re.search(r"(?m)^query:\s*[\"']?([A-Za-z0-9_.-]+)", text)
    query = path.parent / query_line[1] if query_line else None
    query_text = _text_of(query) if query and query.is_file() else None
    return parse_spec(text, path=str(path), query_text=query_text)


def check_models(folder: Path, name: str | None) -> CheckedModels:
    """Return what is right and wrong with one model, or with all of the folder.

    Raises:
        UnknownModel: There is no such model, or none at all.
    """
    specs: list[ModelSpec] = []
    mistakes = [] if name else list(_mistakes_of_names(folder))
    for path in [_file_of(folder, name)] if name else list(_files(folder)):
        try:
            specs.append(read_model(path))
        except InvalidSpec as error:
            mistakes += error.mistakes
    return CheckedModels(tuple(specs), tuple(mistakes))


def _mistakes_of_names(folder: Path) -> Iterator[Mistake]:
    """Yield files that nothing reads, and files whose name another file has already."""
    for path in sorted(folder.glob("*.yml")):
        yield Mistake(str(path), 1, f"is not read; rename it to {path.stem}.yaml")
    first: dict[str, Path] = {}
    for path in _files(folder):
        found = _NAME.search(path.read_text(encoding="utf-8-sig", errors="replace"))
        if found is None:
            continue
        other = first.setdefault(found[1], path)
        if other != path:
            yield Mistake(str(path), 1, f"has the name `{found[1]}`, which {other.name} has too")


def _text_of(path: Path) -> str:
    """Return a file's text, without the mark that some editors put first.

    Raises:
        InvalidSpec: The file is no UTF-8.
    """
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InvalidSpec([Mistake(str(path), line, "is not UTF-8; save it as UTF-8")]) from error


def _files(folder: Path) -> Iterator[Path]:
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise UnknownModel(f"no YAML in {folder}; set RETRAIN_MODELS to the folder of the models")
    yield from paths


def _file_of(folder: Path, name: str) -> Path:
    """Search for the name as text: a YAML with mistakes must be found too."""
    paths = list(_files(folder))
    texts = {path: path.read_text(encoding="utf-8-sig", errors="replace") for path in paths}
    named = [path for path, text in texts.items() if name in _NAME.findall(text)]
    if len(named) == 1:
        return named[0]
    if named:
        files = ", ".join(path.name for path in named)
        raise UnknownModel(f"several files have the name `{name}`: {files}; keep one")
    raise UnknownModel(
        f"no YAML in {folder} has the name `{name}`;"
        f" there are {', '.join(path.name for path in paths)}"
    )
