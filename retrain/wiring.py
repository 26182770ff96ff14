"""Puts the real parts together: the warehouse and MLflow of the settings.

An adapter is loaded here by name, so that nobody loads the library of a part that nobody asks for.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib import import_module
from typing import cast

from retrain.runs.port import Runs
from retrain.settings import Settings
from retrain.sources.port import Source


def open_runs(settings: Settings, model: str) -> Runs:
    """Return a model's runs and versions in MLflow."""
    adapter = import_module("retrain.runs.mlflow")
    return cast("Runs", adapter.MlflowRuns(settings.tracking_url, model))


def open_source(settings: Settings, name: str) -> AbstractContextManager[Source]:
    """Return the warehouse called `name`; leaving the context closes it.

    Raises:
        UnknownSource: RETRAIN_SOURCES lacks the name, or has an address that no adapter opens.
        SourceUnavailable, SourceRefused: The warehouse cannot be opened.
    """
    adapter = import_module("retrain.sources.duckdb")
    return cast("AbstractContextManager[Source]", adapter.open_source(settings.sources, name))
