"""Rows in which a label depends on known columns, and the spec over them; no file is read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from retrain.contract import Feature, Partition, Snapshot, Split, digest_of_bytes
from retrain.fitting.window_run import WindowRun
from retrain.spec.model_file import Columns, ModelSpec
from retrain.spec.technique import Technique

FEATURES = (
    Feature(name="carrier", type="category"),
    Feature(name="distance", type="number", unit="mile", minimum=0),
    Feature(name="weekday", type="integer"),
    Feature(name="holiday", type="boolean"),
    Feature(name="wind_speed", type="number", required=False),
)
TREES = Technique(
    estimator="sklearn.ensemble.HistGradientBoostingClassifier", params={"max_iter": 10}
)
LOGISTIC = Technique(estimator="sklearn.linear_model.LogisticRegression")
START = datetime(2013, 4, 8, tzinfo=UTC)


def make_spec(**changes: object) -> ModelSpec:
    return ModelSpec(
        **{
            "name": "flight-delay",
            "title": "Will it be late?",
            "owner": "@acme/ml",
            "task": "binary_classification",
            "query": "flights.sql",
            "query_text": "select * from flights",
            "columns": Columns(key="key", event_time="at", label="late", groups="day"),
            "label_delay": timedelta(days=1),
            "features": FEATURES,
            "techniques": {"boosted_trees": TREES, "logistic": LOGISTIC},
            **changes,
        }
    )


def make_rows(
    count: int, *, seed: int = 0, days: int = 14, first_day: datetime = START
) -> pa.Table:
    """Rows spread evenly over the days. Far and windy flights are late, and carrier B6 more often.

    Some carriers and winds are missing.
    """
    random = np.random.default_rng(seed)
    moments = [first_day + timedelta(days=days) * (row / count) for row in range(count)]
    distance = random.uniform(50, 3000, count)
    wind = random.gamma(2, 5, count)
    carrier = random.choice(np.array(["AA", "B6", "UA", "żółć"]), count)
    lateness = distance / 3000 + wind / 20 + (carrier == "B6") - 1.2
    return pa.table(
        {
            "key": [f"{first_day:%m%d}-{row:06}" for row in range(count)],
            "at": pa.array(moments, pa.timestamp("us", "UTC")),
            "day": [f"{moment:%Y-%m-%d}" for moment in moments],
            "late": random.random(count) < 1 / (1 + np.exp(-2 * lateness)),
            "carrier": pa.array(carrier, pa.string(), mask=random.random(count) < 0.1),
            "distance": distance,
            "weekday": pa.array([moment.isoweekday() for moment in moments], pa.int64()),
            "holiday": random.random(count) < 0.1,
            "wind_speed": pa.array(wind, mask=random.random(count) < 0.2),
        }
    )


def make_window(spec: ModelSpec | None = None, **changes: object) -> WindowRun:
    spec = spec or make_spec()
    days = {"train": 0, "validation": 14, "test": 21}
    rows = {
        split: make_rows(
            2000 if split == "train" else 600,
            seed=seed,
            first_day=START + timedelta(days=seed),
            days=7,
        )
        for split, seed in days.items()
    }
    splits = {
        split: _split(table, START + timedelta(days=days[split])) for split, table in rows.items()
    }
    partition = Partition(
        week="2013-W15", uri="file:///w15.parquet", rows_digest=digest_of_bytes(b"rows"), rows=3200
    )
    columns = spec.columns.model_dump()
    snapshot = Snapshot(
        query_digest=spec.query_digest, **columns, **splits, partitions=(partition,)
    )
    end = START + timedelta(days=29)
    made = {
        "spec": spec,
        "start": START,
        "end": end,
        "snapshot": snapshot,
        "rows": rows,
        "identity": digest_of_bytes(b"identity"),
    }
    return WindowRun(
        **{**made, "seed": 7, "sample": None, "reason": "", "git_revision": "abc", **changes}
    )


def _split(rows: pa.Table, start: datetime) -> Split:
    return Split(
        groups=tuple(sorted(set(rows.column("day").to_pylist()))),
        start=start,
        end=start + timedelta(days=7),
        rows=rows.num_rows,
    )
