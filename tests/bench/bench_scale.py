"""Retrains of many rows: today's code and that of commit 596879a, in one run.

Both read the same DuckDB warehouse of generated weeks, 13 features, with two workers, and keep runs
in memory. The figure of memory is the highest sum of all processes' PSS, sampled every 0.2 s: a
page that processes share counts once. Mapped files count, although the system may drop them.

    .venv/bin/python -m tests.bench.bench_scale 5000000                  both sides
    .venv/bin/python -m tests.bench.bench_scale 20000000 2000000         today's, with a bound
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

ROOT = Path(__file__).parents[2]
BEFORE = "596879a"
END = datetime(2024, 4, 1, tzinfo=UTC)
ROWS = 400_000
"""Of `make bench`; the two lines above take minutes and gigabytes."""
SPEC = """
name: generated
owner: bench
task: binary_classification
query: generated.sql
columns: {key: row_key, event_time: happened_at, label: label, groups: day}
label_delay: 0 days
features:
  {carrier: category, origin: category, destination: category,
   n0: number, n1: number, n2: number, n3: number, n4: number, n5: number, n6: number,
   n7: number, n8: number, n9: number}
"""
CHILD = """
import sys, time
from datetime import datetime
from pathlib import Path
from retrain.settings import Settings
from retrain.spec.model_file import parse_spec
from retrain.wiring import open_source
from retrain.workflow import run_window
from tests.fakes.runs import FakeRuns
if __name__ == "__main__":
    folder, spec, end = sys.argv[1:]
    spec = parse_spec(spec, path="generated.yaml", query_text="SELECT * FROM events")
    settings = Settings(sources={"warehouse": f"duckdb://{folder}/warehouse.duckdb"}, workers=2,
                        snapshots=f"{folder}/{time.time()}", lock=Path("infra/locks/retrain.txt"))
    said = lambda text: print(text, file=sys.stderr, flush=True)
    runs = FakeRuns()
    run_window(spec, end=datetime.fromisoformat(end), settings=settings, runs=runs,
               source=open_source(settings, "warehouse"), progress=said)
    print(runs.runs[0][1].tags["model_digest"])
"""


def measure() -> list[dict[str, object]]:
    """Return one figure: how much less memory a small retrain takes."""
    return [compared(ROWS)]


def compared(rows: int) -> dict[str, object]:
    """Return both sides, and whether they register the same model.

    71b018a, between the two, made the thresholds of boosted trees exact: bytes may differ.
    """
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), rows)
        old = Path(folder) / "before"
        _git("worktree", "add", "--detach", str(old), BEFORE)
        try:
            before = retrain(old, folder, SPEC)
        finally:
            _git("worktree", "remove", "--force", str(old))
        after = retrain(ROOT, folder, SPEC)
    is_same = before.pop("model") == after.pop("model")
    return {
        "name": f"memory of a retrain of {rows:,} rows, before / now",
        "ratio": round(before["gigabytes"] / after["gigabytes"], 2),
        "goal": None,
        "before": before,
        "now": after,
        "same_model": is_same,
    }


def generate(folder: Path, rows: int) -> None:
    """Write a DuckDB file of 13 weeks before `END`."""
    start = END - timedelta(days=91)
    numbers = ", ".join(f"round(100 + 30 * random(), 1) AS n{column}" for column in range(10))
    texts = ", ".join(
        f"'C' || floor(random() * {kinds})::INT AS {name}"
        for name, kinds in (("carrier", 16), ("origin", 3), ("destination", 105))
    )
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        connection.execute("SET threads = 1; SELECT setseed(0.5)")
        connection.execute(
            "CREATE TABLE events AS SELECT *, cast(happened_at AS DATE) AS day,"
            " (n0 + n1 + 40 * random() > 250) AS label FROM (SELECT i AS row_key,"
            f" TIMESTAMP '{start:%F}' + to_microseconds(i * {91 * 86_400_000_000 // rows})"
            f" AS happened_at, {texts}, {numbers} FROM range({rows}) AS numbered(i))"
        )


def retrain(code: Path, folder: str, spec: str) -> dict[str, object]:
    """Run one retrain with the code of a checkout; return its model, seconds and peak."""
    began, peak = time.perf_counter(), 0
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, folder, spec, END.isoformat()],
        cwd=code,
        env={**os.environ, "PYTHONPATH": str(code)},
        stdout=subprocess.PIPE,
        text=True,
    )
    while child.poll() is None:
        peak = max(peak, sum(map(_pss_kib, _family(child.pid))))
        time.sleep(0.2)
    if child.returncode:
        raise AssertionError(f"the retrain with the code in {code} failed; see above")
    return {
        "model": child.stdout.read().strip(),
        "seconds": round(time.perf_counter() - began),
        "gigabytes": round(peak * 1024 / 1e9, 2),
    }


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in _family(int(child)))]


def _pss_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def _git(*words: str) -> None:
    subprocess.run(["git", "-C", str(ROOT), *words], check=True, capture_output=True)


def main() -> None:
    """Print the figures of so many rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int)
    parser.add_argument("most", type=int, nargs="?", help="max_training_rows; now's side alone")
    options = parser.parse_args()
    if options.most is None:
        print(json.dumps(compared(options.rows)))
        return
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), options.rows)
        bounded = f"{SPEC}max_training_rows: {options.most}\n"
        print(json.dumps(retrain(ROOT, folder, bounded)))


if __name__ == "__main__":
    main()
