"""Puts the real parts together: the warehouse and MLflow of the settings.

An adapter is loaded here by name, so that nobody loads the library of a part that nobody asks for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import cast

from retrain.errors import UnknownSource
from retrain.runs.port import Runs
from retrain.settings import Settings
from retrain.sources.port import Source

_ADAPTERS = {
    "duckdb": "retrain.sources.duckdb",
    "postgresql": "retrain.sources.postgres",
    "sqlite": "retrain.sources.sqlite",
}
"""The module that opens an address, by the address's scheme."""


def open_runs(settings: Settings, model: str) -> Runs:
    """Return a model's runs and versions in MLflow."""
    adapter = import_module("retrain.runs.mlflow")
    return cast("Runs", adapter.MlflowRuns(settings.tracking_url, model))


@contextmanager
def open_source(settings: Settings, name: str) -> Iterator[Source]:
    """Give the warehouse called `name`; it is closed at the end.

    Raises:
        UnknownSource: RETRAIN_SOURCES lacks the name, or has an address that no adapter opens.
        SourceUnavailable, SourceRefused: The warehouse cannot be opened.
    """
    if name not in settings.sources:
        raise UnknownSource(
            f"the YAML reads from `{name}`, but RETRAIN_SOURCES names"
            f" {', '.join(sorted(settings.sources)) or 'nothing'}; add it there with its address"
        )
    address = settings.sources[name]
    scheme = address.partition(":")[0]
    if scheme not in _ADAPTERS:
        raise UnknownSource(  # the address may hold a password: it is never shown
            f"RETRAIN_SOURCES gives `{name}` an address that retrain cannot open;"
            f" it must begin with {', '.join(f'{known}://' for known in _ADAPTERS)}"
        )
    with import_module(_ADAPTERS[scheme]).open_source(name, address) as source:
        yield source
