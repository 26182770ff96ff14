"""The weekly window: 13 of 52 weeks of 5.2 million generated rows, against pandas that reads all files and then filters.

Both sides start from the same 52 Parquet files and end with the window's rows in memory. Ours (retrain's own `build_snapshot` and `read_split`) finds the older weeks in its store, reads the new
one and those within `late_rows` through DuckDB, writes and names them, cuts the splits, and proves every byte it hands out by its digest. Ratchet's store is warm, as in every week but the first;
both sides read files that the operating system has in memory.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from retrain.partitions import PartitionStore
from retrain.snapshot import build_snapshot, read_split
from retrain.source import open_source
from retrain.spec import ModelSpec, parse_spec

FIRST_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
WEEKS, ROWS_PER_WEEK = 52, 100_000
END = FIRST_MONDAY + timedelta(weeks=WEEKS)
GOAL = 30
SPEC = """
name: generated
owner: bench
task: binary_classification
query: generated.sql
columns: {key: row_key, event_time: happened_at, label: label, groups: day}
label_delay: 1 day
features: {carrier: category, origin: category, destination: category, n0: number, n1: number, n2: number}
"""


def measure() -> list[dict[str, object]]:
    """Return the figure, both sides measured in turn in this process."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        generate(root)
        spec = parse_spec(SPEC, path="generated.yaml", query_text="SELECT * FROM events")
        store, start = PartitionStore(root / "store"), END - timedelta(days=91)
        ratchet_window(root, spec, store, END - timedelta(weeks=1))
        theirs, ours = [], []
        for _ in range(5):
            theirs.append(_seconds(lambda: pandas_window(root, start)))
            ours += [_seconds(lambda: ratchet_window(root, spec, store, END)) for _ in range(3)]
    ratio = statistics.median(theirs) / statistics.median(ours)
    return [
        {
            "name": "weekly window, digests verified, against pandas read-all-then-filter",
            "ratio": round(ratio, 1),
            "goal": GOAL,
            "seconds": {"pandas": round(statistics.median(theirs), 3), "ratchet": round(statistics.median(ours), 3)},
        }
    ]


def generate(root: Path) -> None:
    """Write 52 weekly Parquet files and a DuckDB file with a view over them."""
    (root / "weeks").mkdir()
    random = np.random.default_rng(7)
    for week in range(WEEKS):
        seconds = np.sort(random.integers(0, 7 * 86_400, ROWS_PER_WEEK))
        moments = np.datetime64(FIRST_MONDAY.replace(tzinfo=None) + timedelta(weeks=week), "us") + seconds.astype("timedelta64[s]")
        rows = {
            "row_key": np.arange(ROWS_PER_WEEK) + week * ROWS_PER_WEEK,
            "happened_at": pa.array(moments, pa.timestamp("us", tz="UTC")),
            "day": pa.array(moments.astype("datetime64[D]")),
            "label": random.random(ROWS_PER_WEEK) < 0.2,
            **{name: _texts(random, kinds) for name, kinds in (("carrier", 16), ("origin", 3), ("destination", 105))},
            **{f"n{column}": random.normal(100, 30, ROWS_PER_WEEK).round(1) for column in range(10)},
        }
        pq.write_table(pa.table(rows), root / "weeks" / f"{week:02d}.parquet")
    with duckdb.connect(str(root / "warehouse.duckdb")) as connection:
        connection.execute(f"CREATE VIEW events AS SELECT * FROM read_parquet('{root}/weeks/*.parquet')")


def _texts(random: np.random.Generator, kinds: int) -> pa.Array:
    return pa.array(np.array([f"C{kind:02d}" for kind in range(kinds)])[random.integers(0, kinds, ROWS_PER_WEEK)])


def pandas_window(root: Path, start: datetime) -> int:
    """Read all, then filter."""
    rows = pd.concat([pd.read_parquet(path) for path in sorted((root / "weeks").glob("*.parquet"))], ignore_index=True)
    return len(rows[(rows["happened_at"] >= start) & (rows["happened_at"] < END)])


def ratchet_window(root: Path, spec: ModelSpec, store: PartitionStore, end: datetime) -> int:
    """Build the snapshot and read its three splits."""
    with open_source({"warehouse": f"duckdb://{root}/warehouse.duckdb"}, spec.source) as source:
        snapshot = build_snapshot(spec, end, source, store)
    return sum(read_split(snapshot, split).num_rows for split in (snapshot.train, snapshot.validation, snapshot.test))


def _seconds(call: Callable[[], int]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    for figure in measure():
        print(json.dumps(figure))
