"""A week without new rows, against a full retrain, in one process without imports.

Both sides run `run_window` on real flights and the real YAML with one worker. No process is forked
and no module imported in the measured time. Runs are kept in memory, so neither side waits for
MLflow. Theirs: the week is retrained with an empty snapshot store. Ours: the week after it, in
which no row arrived.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from infra.local.flights import load_flights
from retrain.outcome import RunOutcome
from retrain.settings import Settings
from retrain.spec.files import load_model
from retrain.wiring import open_source
from retrain.workflow import run_window
from tests.fakes.runs import FakeRuns

END = datetime(2013, 7, 8, tzinfo=UTC)
ROUNDS = 3
GOAL = 20


def measure() -> list[dict[str, object]]:
    """Time both sides in turn, after one round that imports everything."""
    spec = load_model(Path("dags/models"), "flight-delay")
    full, unchanged = [], []
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Path(folder) / "flights.duckdb"
        load_flights(warehouse, until=END)
        for number in range(ROUNDS + 1):
            settings = Settings(
                sources={"warehouse": f"duckdb:///{warehouse}"},
                snapshots=f"{folder}/snapshots{number}",
                workers=1,
                lock=Path("infra/locks/retrain.txt"),
            )
            runs = FakeRuns()

            def retrain(
                end: datetime, settings: Settings = settings, runs: FakeRuns = runs
            ) -> RunOutcome:
                source = open_source(settings, spec.source)
                return run_window(spec, end=end, settings=settings, runs=runs, source=source)

            full.append(seconds("registered", run=partial(retrain, end=END)))
            unchanged.append(
                seconds("unchanged", run=partial(retrain, end=END + timedelta(days=7)))
            )
    one, other = statistics.median(full[1:]), statistics.median(unchanged[1:])
    return [
        {
            "name": "full retrain / unchanged window",
            "ratio": one / other,
            "goal": GOAL,
            "retrain_s": round(one, 2),
            "unchanged_s": round(other, 3),
        }
    ]


def seconds(expected: str, *, run) -> float:
    """The wall-clock time of one run, which must end as expected."""
    started = time.perf_counter()
    outcome: RunOutcome = run()
    took = time.perf_counter() - started
    if outcome.outcome != expected:
        raise AssertionError(f"expected {expected}, found {outcome.sentence}")
    return took
