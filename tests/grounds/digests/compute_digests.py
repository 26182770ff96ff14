"""Computes the digests that name plans, recipes, readings, policies, snapshots and rows.

As a script it writes `digests.json`; README.md beside it says when. The test computes the same with
today's code. Rows are made by arithmetic alone, so that no library's random numbers decide them.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from retrain.contract import Snapshot
from retrain.settings import Settings
from retrain.snapshot.canonical_rows import column_digests, in_canonical_types, rows_digest
from retrain.snapshot.snapshot import build_snapshot, reading_digest
from retrain.snapshot.store import PartitionStore
from retrain.spec.model_file import ModelSpec, parse_spec
from retrain.workflow import run_identity

HERE = Path(__file__).parent
END = datetime(2026, 3, 2, tzinfo=UTC)
ROWS_PER_DAY = 3
ALL_ROWS = 40

Values = Sequence[Any]
TEXTS = ("red", "", "żółć", None, "日本", "a\nb")
KEYS: dict[str, Callable[[int], Any]] = {
    "minimal": lambda row: row - 70,
    "odd-features": lambda row: f"{row:05}-ż",
}
GROUPS: dict[str, Callable[[date], Any]] = {
    "minimal": date.toordinal,
    "guarded": lambda day: f"shop {day:%j}",
}
LABELS: dict[str, Callable[[int], Any]] = {"minimal": int, "guarded": int}


class Rows:
    """The rows of one model, as a warehouse would return them."""

    def __init__(self, spec: ModelSpec) -> None:
        most = 31 * spec.window_months + 14
        days = [END.date() - timedelta(days=back) for back in range(most, 0, -1)]
        placed = [(day, number) for day in days for number in range(ROWS_PER_DAY)]
        hours = [time(5 + 7 * number, 30, tzinfo=UTC) for number in range(ROWS_PER_DAY)]
        moments = [datetime.combine(day, hours[number]) for day, number in placed]
        count, columns, label = len(placed), spec.columns, LABELS.get(spec.name, bool)
        self.moments = pa.chunked_array([pa.array(moments, pa.timestamp("us", "UTC"))])
        self.table = pa.table(
            {
                columns.key: [KEYS.get(spec.name, "key {:05}".format)(row) for row in range(count)],
                columns.event_time: self.moments,
                columns.label: [label(row * row % 7 == 2) for row in range(count)],
                columns.groups: [GROUPS.get(spec.name, lambda day: day)(day) for day, _ in placed],
                **{feature.name: feature_values(feature.type, count) for feature in spec.features},
                **{f"more_{name}": values for name, values in columns_of_all_types(count).items()},
            }
        )

    def rows(self, _: ModelSpec, start: datetime, end: datetime) -> Iterator[pa.Table]:
        """Yield the rows of a time range."""
        after = pc.greater_equal(self.moments, pa.scalar(start, self.moments.type))
        before = pc.less(self.moments, pa.scalar(end, self.moments.type))
        yield self.table.filter(pc.and_(after, before))


def feature_values(kind: str, count: int) -> Values:
    """Return values of a feature's type, some of them missing."""
    if kind == "category":
        return cycled(TEXTS, count)
    if kind == "boolean":
        return cycled((True, False, None), count)
    if kind == "integer":
        return [None if row % 11 == 5 else row % 9 for row in range(count)]
    return numbers(count)


def numbers(count: int) -> Values:
    """Return numbers that binary fractions hold exactly and others, NaN and missing values."""
    odd = (None, float("nan"), 0.0, -0.0, 1e-300, 1.5e300, float("inf"), -2.5)
    return [odd[row % 8] if row % 5 == 0 else row / 7 - 3 for row in range(count)]


def columns_of_all_types(count: int) -> dict[str, pa.Array]:
    """Return a column of each type of Arrow's that a snapshot takes, decimals aside."""
    first, step = datetime(1969, 12, 30, tzinfo=UTC), timedelta(hours=37)
    moments = [None if row % 6 == 4 else first + step * row for row in range(count)]
    days = [None if moment is None else moment.date() for moment in moments]
    tiny = timedelta(microseconds=1)
    fine = [None if moment is None else moment + tiny * row for row, moment in enumerate(moments)]
    naive = [None if moment is None else moment.replace(tzinfo=None) for moment in fine]
    signed = [None if row % 9 == 3 else row % 120 - 60 for row in range(count)]
    made = {
        str(kind): pa.array(signed, kind)
        for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())
    }
    small = [row % 250 for row in range(count)]
    made |= {
        str(kind): pa.array(small, kind)
        for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
    }
    for unit in ("s", "ms", "ns"):
        made[f"moment_{unit}"] = pa.array(moments, pa.timestamp(unit, "UTC"))
    return made | {
        "int64_wide": pa.array([(-1) ** row * (2**62 - row) for row in range(count)], pa.int64()),
        "float32": pa.array(numbers_of_32_bits(count), pa.float32()),
        "float64": pa.array(numbers(count), pa.float64()),
        "bool": pa.array(cycled((True, None, False), count), pa.bool_()),
        "bool_full": pa.array(cycled((True, False), count), pa.bool_()),
        "string": pa.array(cycled(TEXTS, count), pa.string()),
        "string_full": pa.array([f"{row % 17} é" for row in range(count)], pa.string()),
        "large_string": pa.array(cycled(TEXTS, count), pa.large_string()),
        "dictionary": pa.array(cycled(TEXTS, count), pa.string()).dictionary_encode(),
        "moment_us_naive": pa.array(naive, pa.timestamp("us")),
        "moment_us_local": pa.array(fine, pa.timestamp("us", "Europe/Warsaw")),
        "date32": pa.array(days, pa.date32()),
        "date64": pa.array(days, pa.date64()),
        "nothing": pa.nulls(count),
    }


def columns_of_decimals(count: int) -> dict[str, pa.Array]:
    """Return decimals; for some of them Arrow's cast gives another number than their text says."""
    cents = [None if row % 8 == 6 else Decimal(row * 7919 - 99_999) / 100 for row in range(count)]
    long = [Decimal(f"{row}.{row * 123_456_789_123 % 10**18:018}") for row in range(count)]
    return {
        "cents": pa.array(cents, pa.decimal128(12, 2)),
        "long": pa.array(long, pa.decimal128(38, 18)),
        "wide": pa.array(cents, pa.decimal256(50, 4)),
    }


def numbers_of_32_bits(count: int) -> Values:
    """Return numbers that 32 bits hold, NaN and missing values."""
    odd = (None, float("nan"), -0.0, float("-inf"))
    return [odd[row % 4] if row % 5 == 0 else row / 8 - 3 for row in range(count)]


def cycled(values: Values, count: int) -> Values:
    """Return the values over and over."""
    return [values[row % len(values)] for row in range(count)]


def compute() -> dict[str, Any]:
    """Return every digest by what it names."""
    return {
        "models": {path.stem: model_digests(path) for path in (HERE / "models").glob("*.yaml")},
        "rows": {
            "all types but decimals": table_digests(columns_of_all_types(ALL_ROWS)),
            "decimals": table_digests(columns_of_decimals(ALL_ROWS)),
        },
    }


def model_digests(path: Path) -> dict[str, Any]:
    """Return the digests of one model file, and of the snapshot of its rows."""
    query = path.with_suffix(".sql").read_bytes().decode()
    spec = parse_spec(path.read_text(), path=path.name, query_text=query)
    with tempfile.TemporaryDirectory(prefix="ratchet-digests-") as folder:
        snapshot = build_snapshot(spec, END, Rows(spec), PartitionStore(Path(folder) / "store"))
        identity = identity_of(spec, snapshot, Path(folder))
    return {
        "plan": spec.plan_digest,
        "recipes": {name: spec.recipe_digest(name) for name in spec.techniques},
        "query": spec.query_digest,
        "reading": reading_digest(spec),
        "policy": spec.gate.policy_digest,
        "snapshot": snapshot.snapshot_id,
        "partitions": {partition.week: partition.rows_digest for partition in snapshot.partitions},
        "run identity": identity,
    }


def identity_of(spec: ModelSpec, snapshot: Snapshot, folder: Path) -> str:
    """Return the identity of a run with a lock file whose content never changes."""
    lock = folder / "lock.txt"
    lock.write_bytes(b"numpy==2.2.0\n")
    return run_identity(spec, snapshot, Settings(lock=lock), champion="logistic", sample=None)


def table_digests(columns: dict[str, pa.Array]) -> dict[str, Any]:
    """Return the digests of a partition's rows and of each of its columns."""
    rows = in_canonical_types(pa.table(columns))
    digests = column_digests(rows)
    return {
        "rows": rows_digest(digests, rows.num_rows),
        "columns": {name: f"{kind} {digest}" for name, kind, digest in digests},
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(compute(), indent=1, sort_keys=True, ensure_ascii=False) + "\n")
