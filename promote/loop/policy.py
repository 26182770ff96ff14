"""The model files on main, read at a commit.

The gate's policy comes from main, never from the challenger's run.
"""

from __future__ import annotations

import re
from functools import lru_cache

from promote.errors import NoPolicy
from promote.forge.port import Forge
from promote.registry.port import ModelRegistry
from retrain.contract import MODEL_NAME
from retrain.errors import InvalidSpec
from retrain.spec.model_file import ModelSpec, parse_spec

FOLDER = "dags/models"
_NAME = re.compile(rf"(?m)^name:\s*[\"']?({MODEL_NAME})[\"']?\s*(?:#.*)?$".encode())
_QUERY = re.compile(rb"(?m)^query:\s*[\"']?([A-Za-z0-9_.-]+)")


@lru_cache(maxsize=8)
def models_on_main(forge: Forge, main: str) -> dict[str, str]:
    """Return the models that main describes, by name, with their YAML's path."""
    found: dict[str, str] = {}
    for path in forge.list_folder(FOLDER, main):
        name = (
            _NAME.search(forge.read_file(path, main) or b"")
            if path.endswith((".yaml", ".yml"))
            else None
        )
        if name:
            found.setdefault(name[1].decode(), path)
    return found


def is_model(forge: Forge, registry: ModelRegistry, model: str) -> bool:
    """Return whether main describes a model, or MLflow has a challenger or champion of it."""
    forge.refresh()
    if model in models_on_main(forge, forge.head()):
        return True
    return registry.challenger(model) is not None or registry.champion(model) is not None


def read_policy(forge: Forge, model: str, main: str) -> ModelSpec:
    """Return the spec of a model by its YAML on main.

    Raises:
        NoPolicy: Main has no YAML of this name, or the YAML has mistakes. All mistakes are named.
    """
    path = models_on_main(forge, main).get(model)
    if path is None:
        raise NoPolicy(
            f"Main has no YAML under {FOLDER} with `name: {model}`, so promote has no policy to "
            "judge by. Merge such a YAML."
        )
    content = forge.read_file(path, main) or b""
    query = _QUERY.search(content)
    query_text = forge.read_file(f"{FOLDER}/{query[1].decode()}", main) if query else None
    try:
        return _spec(content.decode(), path, None if query_text is None else query_text.decode())
    except (InvalidSpec, UnicodeDecodeError) as error:
        raise NoPolicy(
            f"The policy of {model} on main cannot be read: {error}. Merge a correction."
        ) from error


@lru_cache(maxsize=4096)
def _spec(text: str, path: str, query_text: str | None) -> ModelSpec:
    return parse_spec(text, path=path, query_text=query_text)
