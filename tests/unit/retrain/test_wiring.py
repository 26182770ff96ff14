"""The parts that wiring loads by name are there, and are what the workflow takes."""

import inspect
from pathlib import Path

import duckdb

from retrain.runs.port import Runs
from retrain.settings import Settings
from retrain.sources.port import Source
from retrain.wiring import open_runs, open_source


def methods(kind: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(kind, callable) if not name.startswith("_")}


def test_runs_and_source_have_all_methods_of_their_ports(tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "w.duckdb")).close()
    settings = Settings(sources={"warehouse": f"duckdb://{tmp_path}/w.duckdb"})
    assert methods(Runs) <= methods(type(open_runs(settings, "flight-delay")))
    with open_source(settings, "warehouse") as source:
        assert methods(Source) == {"rows", "head"} <= methods(type(source))
