"""The weekly window: 13 of 52 weeks of 5.2 million generated rows.

Both sides start from the same 52 Parquet files, which are in the operating system's cache. They
take turns in one process. Theirs: pandas reads all files into one frame and filters by time. Ours:
what a weekly run does to know its window (open the warehouse, `build_snapshot`). This proves the
twelve kept weeks by their digests, reads the new week through DuckDB, sorts and writes it, compares
keys over the whole window, and cuts the splits. The rows of the model never change
(`late_rows: 0 days`). The first figure is the goal.

In the first figure ours does not put the window's rows into memory. The second figure does: after
the build, `read_split` reads all three splits and proves every column of every row by its digest.
It keeps readers from taking the first figure for more than it is.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from retrain.contract import digest_of_bytes
from retrain.snapshot.snapshot import build_snapshot, read_split
from retrain.snapshot.store import PartitionStore
from retrain.sources.duckdb import open_source
from retrain.spec.model_file import ModelSpec, parse_spec

FIRST_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
WEEKS, ROWS_PER_WEEK = 52, 100_000
END = FIRST_MONDAY + timedelta(weeks=WEEKS)
START = END - timedelta(days=91)
GOAL = 30
SPEC = """
name: generated
owner: bench
task: binary_classification
query: generated.sql
columns: {key: row_key, event_time: happened_at, label: label, groups: day}
label_delay: 0 days
late_rows: 0 days
features:
  {carrier: category, origin: category, destination: category, n0: number, n1: number, n2: number}
"""


def measure() -> list[dict[str, object]]:
    """Return both figures."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        generate(root)
        spec = parse_spec(SPEC, path="generated.yaml", query_text="SELECT * FROM events")
        ratchet_window(root, spec, root / "last week", END - timedelta(weeks=1))
        theirs, builds, reads = [], [], []
        for turn in range(5):
            theirs.append(pandas_window(root))
            for again in range(3):
                built, read = ratchet_window(
                    root, spec, _copy(root / "last week", root / f"store-{turn}-{again}"), END
                )
                builds.append(built)
                reads.append(built + read)
    median = {
        "pandas": statistics.median(theirs),
        "build": statistics.median(builds),
        "build_and_read": statistics.median(reads),
    }
    seconds = {name: round(value, 3) for name, value in median.items()}
    return [
        {
            "name": "weekly window built, digests verified",
            "ratio": round(median["pandas"] / median["build"], 1),
            "goal": GOAL,
            "seconds": seconds,
        },
        {
            "name": "weekly window built and read, digests verified",
            "ratio": round(median["pandas"] / median["build_and_read"], 1),
            "goal": None,
            "seconds": seconds,
        },
    ]


def _copy(store: Path, copy: Path) -> Path:
    """A store's index names files by their whole path, so the copy's entries are moved along."""
    shutil.copytree(store, copy)
    for entry in (copy / "index").rglob("*.json"):
        content = (
            entry.read_bytes()
            .partition(b"\n")[2]
            .replace(store.as_uri().encode(), copy.as_uri().encode())
        )
        entry.write_bytes(digest_of_bytes(content).encode() + b"\n" + content)
    return copy


def generate(root: Path) -> None:
    """Write 52 weekly Parquet files and a DuckDB file with a view over them."""
    (root / "weeks").mkdir()
    random = np.random.default_rng(7)
    for week in range(WEEKS):
        seconds = np.sort(random.integers(0, 7 * 86_400, ROWS_PER_WEEK))
        moments = np.datetime64(
            FIRST_MONDAY.replace(tzinfo=None) + timedelta(weeks=week), "us"
        ) + seconds.astype("timedelta64[s]")
        rows = {
            "row_key": np.arange(ROWS_PER_WEEK) + week * ROWS_PER_WEEK,
            "happened_at": pa.array(moments, pa.timestamp("us", tz="UTC")),
            "day": pa.array(moments.astype("datetime64[D]")),
            "label": random.random(ROWS_PER_WEEK) < 0.2,
            **{
                name: _texts(random, kinds)
                for name, kinds in (("carrier", 16), ("origin", 3), ("destination", 105))
            },
            **{
                f"n{column}": random.normal(100, 30, ROWS_PER_WEEK).round(1) for column in range(10)
            },
        }
        pq.write_table(pa.table(rows), root / "weeks" / f"{week:02d}.parquet")
    with duckdb.connect(str(root / "warehouse.duckdb")) as connection:
        connection.execute(
            f"CREATE VIEW events AS SELECT * FROM read_parquet('{root}/weeks/*.parquet')"
        )


def _texts(random: np.random.Generator, kinds: int) -> pa.Array:
    return pa.array(
        np.array([f"C{kind:02d}" for kind in range(kinds)])[
            random.integers(0, kinds, ROWS_PER_WEEK)
        ]
    )


def pandas_window(root: Path) -> float:
    """Return the seconds that reading all, then filtering takes."""
    began = time.perf_counter()
    rows = pd.concat(
        [pd.read_parquet(path) for path in sorted((root / "weeks").glob("*.parquet"))],
        ignore_index=True,
    )
    kept = rows[(rows["happened_at"] >= START) & (rows["happened_at"] < END)]
    seconds = time.perf_counter() - began
    assert len(kept) > 12 * ROWS_PER_WEEK
    return seconds


def ratchet_window(root: Path, spec: ModelSpec, store: Path, end: datetime) -> tuple[float, float]:
    """Return the seconds of building the snapshot, and of reading its three splits."""
    began = time.perf_counter()
    with open_source(spec.source, f"duckdb://{root}/warehouse.duckdb") as source:
        snapshot = build_snapshot(spec, end, source, PartitionStore(store))
    built = time.perf_counter()
    rows = sum(
        read_split(snapshot, split).num_rows
        for split in (snapshot.train, snapshot.validation, snapshot.test)
    )
    read = time.perf_counter()
    assert rows > 12 * ROWS_PER_WEEK
    return built - began, read - built


if __name__ == "__main__":
    for figure in measure():
        print(json.dumps(figure))
