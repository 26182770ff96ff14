"""Fits techniques, each with a seed and in a process of its own.

A technique that fails or exports wrongly may not ship; the reason is a value.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from inspect import signature
from multiprocessing import forkserver
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retrain.contract import Feature, Output, TaskName
from retrain.errors import TrainingError
from retrain.fitting.frames import to_frame, usable_features
from retrain.fitting.stored_rows import StoredRows, table_of
from retrain.spec.technique import Technique
from retrain.tasks.table import TASKS
from retrain.tasks.task import Labels

Floats = npt.NDArray[np.float64]

Result = TypeVar("Result")
_CONTEXT = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Fit:
    """What to fit, on which rows, and on which rows to check the export and to score."""

    name: str
    technique: Technique
    features: tuple[Feature, ...]
    task: TaskName
    label: str
    weight: str | None
    """The column that says how much a row counts in the fit; None: all alike."""
    answer: Output
    """What the network must answer."""
    train: pa.Table | StoredRows
    held_out: pa.Table | StoredRows
    seed: int


@dataclass(frozen=True)
class Fitted:
    """A technique that may ship."""

    name: str
    features: tuple[Feature, ...]
    """Those with a value in the training rows; the model's inputs."""
    network: bytes
    """ONNX."""
    scores: Floats
    """The exported model's answer to each held-out row."""
    largest_difference: float
    seconds: float


@dataclass(frozen=True)
class Ineligible:
    """A technique that may not ship, and why."""

    name: str
    reason: str
    seconds: float


def fit(task: Fit) -> Fitted | Ineligible:
    """Fit, export and check one technique. A failure is a value, because the others go on."""
    started = time.perf_counter()
    try:
        return _fit(task, started)
    except Exception as error:  # noqa: BLE001 - an estimator and its exporter may raise anything
        return Ineligible(
            task.name, f"{type(error).__name__}: {error}", time.perf_counter() - started
        )


def _fit(task: Fit, started: float) -> Fitted | Ineligible:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # noqa: PLC0415 - it has no types; only a worker that fits needs it

    from retrain.fitting.export import check_parity, loaded, scores_of, to_onnx  # noqa: PLC0415 - as above
    from retrain.fitting.pipeline import make_pipeline, require_room  # noqa: PLC0415 - as above

    train, held_out = table_of(task.train), table_of(task.held_out)
    features, learnt = usable_features(task.features, train), TASKS[task.task]
    pipeline = make_pipeline(task.technique, features, seed=task.seed, kind=learnt.estimator_kind)
    labels = labels_of(train, task.label, task=task.task)
    with threadpool_limits(1):  # more threads add in another order: other bytes, another digest
        frame = to_frame(features, train)
        require_room(pipeline, frame)
        pipeline.fit(frame, labels, **weights_of(train, task.weight, pipeline[-1]))
    content = to_onnx(pipeline, features)
    program = loaded(content, features, task.answer)
    parity = check_parity(learnt, pipeline, program, features, held_out)
    seconds = time.perf_counter() - started
    if not parity.is_exact:
        return Ineligible(
            task.name, f"the ONNX export does not answer as scikit-learn does: {parity}", seconds
        )
    return Fitted(
        task.name,
        features,
        content,
        scores_of(program, task.answer, features, held_out),
        parity.largest_difference,
        seconds,
    )


def weights_of(rows: pa.Table, column: str | None, estimator: object) -> dict[str, Floats]:
    """Return the weights as an argument of the pipeline's fit; nothing without a column.

    Raises:
        TrainingError: The estimator takes no weights, or no fit can use these.
    """
    if column is None:
        return {}
    if "sample_weight" not in signature(estimator.fit).parameters:  # type: ignore[attr-defined]  # an estimator
        raise TrainingError(
            f"{type(estimator).__name__} takes no weights, and `columns.weight` is {column};"
            " name another estimator, or leave the weight out"
        )
    weights = rows.column(column).cast(pa.float64()).to_numpy()
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise TrainingError(
            f"the weight {column} must be finite, at least 0, and above 0 somewhere; it reaches"
            f" from {weights.min():g} to {weights.max():g}"
        )
    return {"estimator__sample_weight": weights}


def labels_of(rows: pa.Table, label: str, *, task: TaskName, split: str = "train") -> Labels:
    """Return the label of each row, as the task reads it.

    Args:
        rows: Of one split.
        label: The column.
        task: The model's.
        split: Its name, for the errors.

    Raises:
        TrainingError: The task cannot learn from these labels.
    """
    column = rows.column(label)
    try:
        values = column.cast(pa.float64()).to_numpy()
    except pa.ArrowException as error:  # its text repeats the value
        raise TrainingError(
            f"the label {label} holds {column.type}, and {task} needs numbers; correct the query"
        ) from error
    return TASKS[task].labels(values, column=label, split=split)


def warm_up() -> None:
    """Start the process that forks the workers. It loads the libraries in the meantime."""
    _CONTEXT.set_forkserver_preload(
        [
            "retrain.fitting.pipeline",
            "retrain.fitting.export",
            "retrain.fitting.training",
            "skl2onnx",
        ]
    )
    forkserver.ensure_running()


def fit_all(tasks: Sequence[Fit], *, workers: int) -> list[Fitted | Ineligible]:
    """Fit all techniques, up to `workers` side by side; one worker means this process.

    When a process dies (out of memory, a crash in C), all techniques in the pool are lost. Each
    of them gets another try, alone. A technique whose process dies again is not eligible.

    Raises:
        TrainingError: No process can be started at all.
    """
    if workers == 1:
        return [fit(task) for task in tasks]
    with _pool(min(workers, len(tasks))) as pool:
        # Before rows are sent: Python below 3.11.5 waits for ever when a process dies meanwhile.
        if not _outcome(pool.submit(_started)):
            raise TrainingError(
                "the processes that train cannot start: the reason is above, in their own words"
            )
        futures = [pool.submit(fit, task) for task in tasks]
        outcomes = [_outcome(future) for future in futures]
    return [outcome or _alone(task) for task, outcome in zip(tasks, outcomes, strict=True)]


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=_CONTEXT, initializer=_end_with_parent)


def _started() -> bool:
    return True


def _outcome(future: Future[Result]) -> Result | None:
    try:
        return future.result()
    except BrokenProcessPool:
        return None


def _alone(task: Fit) -> Fitted | Ineligible:
    with _pool(1) as pool:
        return _outcome(pool.submit(fit, task)) or Ineligible(
            task.name, "its process died, twice: out of memory, or a crash in the estimator", 0.0
        )


def _end_with_parent() -> None:
    """End with the parent. A worker that waits for work does not notice a killed parent."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
