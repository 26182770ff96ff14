"""Reads the folder of models: a YAML and the SQL beside it, one pair a model."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from retrain.errors import InvalidSpec, Mistake, UnknownModel
from retrain.spec.model_file import ModelSpec, parse_spec

MOST_LETTERS = 96 * 1024
"""Of a model's YAML and SQL in one gzipped tar in base64."""
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

    def read(name: str) -> bytes | None:
        beside = path.parent / name
        return beside.read_bytes() if beside.is_file() else None

    return spec_among(path.name, read, folder=f"{path.parent}/")


def spec_among(name: str, read: Callable[[str], bytes | None], *, folder: str = "") -> ModelSpec:
    """Return the spec of a YAML file among others.

    Args:
        name: The YAML file's name.
        read: Returns the bytes of a file by its name; None when there is no such file.
        folder: What errors write before a name.

    Raises:
        InvalidSpec: With every mistake and its line.
    """
    text = _text_of(folder + name, read(name) or b"")
    query_line = re.search(r"(?m)^query:\s*[\"']?([A-Za-z0-9_.-]+)", text)
    query = read(query_line[1]) if query_line else None
    query_text = None
    if query_line and query is not None:
        query_text = _text_of(folder + query_line[1], query)
    return parse_spec(text, path=folder + name, query_text=query_text)


def check_models(folder: Path, name: str | None) -> CheckedModels:
    """Return what is right and wrong with one model, or with all of the folder.

    Raises:
        UnknownModel: There is no such model, or none at all.
    """
    specs: list[ModelSpec] = []
    mistakes = [] if name else list(_files_not_read(folder))
    for path in [_file_of(folder, name)] if name else list(_files(folder)):
        mistakes += _mistakes_of_file(path)
        try:
            specs.append(read_model(path))
        except InvalidSpec as error:
            mistakes += error.mistakes
    return CheckedModels(tuple(specs), tuple(mistakes))


def _files_not_read(folder: Path) -> Iterator[Mistake]:
    """Yield files that nothing reads."""
    for path in sorted(folder.glob("*.yml")):
        yield Mistake(str(path), 1, f"is not read; rename it to {path.stem}.yaml")


def _mistakes_of_file(path: Path) -> Iterator[Mistake]:
    """Yield what Airflow could not find, or could not hand over to a retraining."""
    content = path.read_bytes()
    name = _NAME.search(content.decode("utf-8-sig", errors="replace"))
    if name and name[1] != path.stem:
        right = path.with_name(f"{name[1]}.yaml")
        fix = f", which {right.name} has too" if right.exists() else f"; rename it to {right.name}"
        yield Mistake(str(path), 1, f"has the name `{name[1]}`{fix}")
    query = path.with_suffix(".sql")
    both = content + (query.read_bytes() if query.is_file() else b"")
    packed_letters = len(gzip.compress(both)) * 4 // 3
    if packed_letters > MOST_LETTERS:
        yield Mistake(
            str(path),
            1,
            f"needs {packed_letters // 1024} KiB packed with its query;"
            f" {MOST_LETTERS // 1024} KiB are the most that a retraining can be handed",
        )


def _text_of(path: str, content: bytes) -> str:
    """Return a file's text, without the mark that some editors put first.

    Raises:
        InvalidSpec: The file is no UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InvalidSpec([Mistake(path, line, "is not UTF-8; save it as UTF-8")]) from error


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
