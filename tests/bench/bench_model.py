"""The model time of one row: a fitted scikit-learn pipeline against the model call of serving.

The model is the boosted trees of `dags/models/flight-delay.yaml`, fitted on real flights. Both
sides start from the row as a caller sent it. Theirs makes a DataFrame and asks `predict_proba`.
Ours asks `serving.model.Model`, which checks the block and runs onnxruntime.

The sides take turns by rounds of all rows, and the medians are compared. Turns by single rows
would be unfair: scikit-learn's threads and data would leave our side with cold caches.
"""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from infra.local.flights import load_flights
from retrain.contract import ModelAbout, digest_of_bytes
from retrain.fitting.export import model_card, model_schema, to_onnx
from retrain.fitting.frames import to_frame
from retrain.fitting.pipeline import make_pipeline
from retrain.fitting.training import labels_of
from retrain.model.folder import write_folder
from retrain.snapshot.snapshot import build_snapshot, read_split
from retrain.snapshot.store import PartitionStore
from retrain.sources.duckdb import open_source
from retrain.spec.files import load_model
from serving.contract import Block
from serving.model import Model

END = datetime(2013, 7, 8, tzinfo=UTC)
ROWS, ROUNDS = 400, 3
GOAL = 100


def measure() -> list[dict[str, object]]:
    """Time both sides on the same rows; they must agree."""
    with tempfile.TemporaryDirectory() as folder, fitted(Path(folder)) as (pipeline, model, rows):
        sent = rows.to_pylist()
        theirs, ours = [], []
        gc.collect()
        gc.freeze()  # as the server does
        for _ in range(ROUNDS):
            theirs += [
                seconds(lambda row=row: pipeline.predict_proba(frame_of(row))) for row in sent
            ]
            ours += [
                seconds(lambda row=row: model.answer([block_of(row)], max_rows=100)) for row in sent
            ]
        check_equal(pipeline, model, sent)
    one, other = statistics.median(theirs), statistics.median(ours)
    sides = {
        "scikit_learn_ms": round(one * 1000, 3),
        "served_ms": round(other * 1000, 4),
        "rows": len(sent),
    }
    return [
        {
            "name": "one row, scikit-learn pipeline on a DataFrame / served model call",
            "ratio": one / other,
            "goal": GOAL,
            **sides,
        }
    ]


@contextmanager
def fitted(folder: Path) -> Iterator[tuple[object, Model, pa.Table]]:
    """Give the pipeline, the same as it is served, and some test rows."""
    load_flights(folder / "flights.duckdb", until=END)
    spec = load_model(Path("dags/models"), "flight-delay")
    with open_source(spec.source, f"duckdb://{folder / 'flights.duckdb'}") as source:
        snapshot = build_snapshot(spec, END, source, PartitionStore(folder / "snapshots"))
    names = [feature.name for feature in spec.features]
    train = read_split(snapshot, snapshot.train, [*names, snapshot.label])
    pipeline = make_pipeline(spec.techniques["boosted_trees"], spec.features, seed=0)
    pipeline.fit(to_frame(spec.features, train), labels_of(train, snapshot.label, task=spec.task))
    network = to_onnx(pipeline, spec.features)
    card = model_card(
        spec,
        "boosted_trees",
        digest_of_bytes(b"bench"),
        model_schema(spec.features, train, spec.answer),
        network,
        about=ModelAbout(),
    )
    write_folder(folder / "model", card, network, ModelAbout())
    yield (
        pipeline,
        Model.load(folder / "model", digest=card.model_digest),
        read_split(snapshot, snapshot.test, names).slice(0, ROWS),
    )


def frame_of(row: dict[str, object]) -> pd.DataFrame:
    """One row as the pipeline takes it."""
    return pd.DataFrame(
        [
            {
                name: value
                if isinstance(value, str)
                else np.float32("nan" if value is None else value)
                for name, value in row.items()
            }
        ]
    )


def block_of(row: dict[str, object]) -> Block:
    """One row as the server takes it."""
    return Block(columns={name: [value] for name, value in row.items()})


def seconds(call: Callable[[], object]) -> float:
    """The wall-clock time of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def check_equal(pipeline: object, model: Model, sent: list[dict[str, object]]) -> None:
    """A fast wrong answer is not a figure."""
    for row in sent:
        [answer] = model.answer([block_of(row)], max_rows=1)
        difference = abs(answer["probability"][0] - pipeline.predict_proba(frame_of(row))[0, 1])
        if difference > 1e-6:
            raise AssertionError(f"the sides differ by {difference} on {row}")
