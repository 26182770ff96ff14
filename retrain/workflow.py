"""One window: snapshot, fit all techniques, select, refit, check, record, register.

A run may be killed anywhere and started again. MLflow finds a finished run by its identity, so each
identity has one finished run and one version. What was fitted before the kill is lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from retrain.contract import Digest, Snapshot, Split, digest_of_bytes, digest_of_json
from retrain.errors import LockMissing
from retrain.fitting.contest import Trained, train
from retrain.fitting.stored_rows import StoredRows, store_rows
from retrain.fitting.training import warm_up
from retrain.fitting.window_run import WindowRun
from retrain.outcome import Ending, Outcome, RunOutcome
from retrain.runs.artifacts import write_artifacts
from retrain.runs.port import FinishedRun, Runs
from retrain.runs.record import behind_sentence, rows_read, technique_record, window_record
from retrain.settings import Settings
from retrain.snapshot.files import folder_error
from retrain.snapshot.rows_page import rows_page
from retrain.snapshot.snapshot import build_snapshot, is_unchanged, split_weeks
from retrain.snapshot.store import PartitionStore
from retrain.snapshot.window import sliding_window, weeks_without_rows
from retrain.sources.port import Source
from retrain.spec.model_file import ModelSpec

SEED = 20_130_101
"""Of every estimator, so that a run can be repeated; part of a run's identity."""
Say = Callable[[str], None]
_SPLITS = ("train", "validation", "test")


def run_window(
    spec: ModelSpec,
    *,
    end: datetime,
    settings: Settings,
    runs: Runs,
    source: AbstractContextManager[Source],
    sample: int | None = None,
    register: bool = True,
    reason: str = "",
    progress: Say = lambda _: None,
) -> RunOutcome:
    """Retrain one model on the window before `end` and register the challenger.

    Args:
        spec: The model.
        end: Aware; the first moment after the window.
        settings: Where snapshots are, and how many processes train.
        runs: The model's runs and versions.
        source: The warehouse; open only while rows are read.
        sample: Train on this many rows only, evenly spaced; such a run is never registered.
        register: False when a person wants to see the run in MLflow first.
        reason: Why, for those who read the run later.
        progress: Takes a sentence for each step, for people.

    Raises:
        RetrainError: See `retrain.errors`. Another try may mend a transient one. Nothing is
            half-registered.
    """
    started = time.monotonic()
    if settings.workers > 1:
        warm_up()
    runs.check()
    with source as warehouse:
        snapshot = build_snapshot(spec, end, warehouse, PartitionStore(settings.snapshots))
    progress(f"{_size(snapshot)} ({_since(started)})")
    span = sliding_window(end, months=spec.window_months)
    weeks = [partition.week for partition in snapshot.partitions]
    behind = weeks_without_rows(span, weeks, label_delay=spec.label_delay)
    champion = runs.champion_technique()
    identity = run_identity(spec, snapshot, settings, champion=champion, sample=sample)
    is_to_register = register and sample is None
    notes = (f"the {behind_sentence(behind)}",) if behind else ()
    ending = Ending(spec.name, end, snapshot.snapshot_id, started, notes)

    early = _end_without_training(
        spec, runs, identity, snapshot, ending, is_to_register=is_to_register
    )
    if early:
        return early
    most = most_rows(spec, snapshot, sample)
    with _scratch_folder() as folder:
        stored = _stored(spec, snapshot, most, folder)
        window = WindowRun(
            spec=spec,
            start=span.start,
            end=end,
            snapshot=snapshot,
            rows={split: stored[split].table() for split in _SPLITS},
            identity=identity,
            seed=SEED,
            sample=most,
            reason=reason,
            git_revision=settings.git_revision,
            weeks_without_rows=behind,
            stored=stored,
        )
        last = runs.last_snapshot(spec.plan_digest)  # before the training, which would be lost
        page = rows_page(window.run_name, snapshot, spec.features, last[1] if last else None)
        trained = train(window, champion=champion, workers=settings.workers, say=progress)
        run = _record(runs, window, trained, started, page)
    progress(f"recorded in MLflow ({_since(started)})")
    version = runs.register(run.run_id, title=spec.title) if is_to_register else None
    ended: Outcome = "registered" if version else "not_registered"
    return ending.outcome(ended, version, run, *trained.notes)


def _end_without_training(
    spec: ModelSpec,
    runs: Runs,
    identity: str,
    snapshot: Snapshot,
    ending: Ending,
    *,
    is_to_register: bool,
) -> RunOutcome | None:
    """Return the outcome when MLflow has this run already, or when no row changed."""
    if earlier := runs.finished_run(identity):
        before = runs.registered(earlier.run_id)
        now = runs.register(earlier.run_id, title=spec.title) if is_to_register else None
        if now and not before:
            note = "an earlier attempt had trained it and was stopped before it was registered"
            return ending.outcome("registered", now, earlier, note)
        return ending.outcome("found", before, earlier)
    last = runs.last_snapshot(spec.plan_digest) if is_to_register else None
    if last and is_unchanged(snapshot, last[1]):
        return ending.outcome("unchanged", last[0], None)
    return None


def run_identity(
    spec: ModelSpec,
    snapshot: Snapshot,
    settings: Settings,
    *,
    champion: str | None,
    sample: int | None,
) -> Digest:
    """Return what makes two runs the same run.

    Rows, plan, libraries, seed, the champion's technique and the sample.

    Raises:
        LockMissing: The lock file that names the libraries is not there.
    """
    try:
        lock = digest_of_bytes(settings.lock.read_bytes())
    except OSError as error:
        raise LockMissing(
            f"RETRAIN_LOCK names {settings.lock}, which cannot be read ({error.strerror});"
            " it tells runs of other libraries apart"
        ) from error
    return digest_of_json(
        {
            "snapshot": snapshot.snapshot_id,
            "plan": spec.plan_digest,
            "lock": lock,
            "seed": SEED,
            "champion": champion,
            "sample": sample,
        }
    )


def most_rows(spec: ModelSpec, snapshot: Snapshot, sample: int | None) -> int | None:
    """Return how many rows a fit may have; None when all rows may be used.

    Args:
        spec: The model, perhaps with `max_training_rows`.
        snapshot: Of the window.
        sample: A person's own bound.
    """
    bounds = [bound for bound in (sample, spec.max_training_rows) if bound is not None]
    most = min(bounds, default=None)
    return None if most is None or snapshot.train.rows + snapshot.validation.rows <= most else most


def _stored(
    spec: ModelSpec, snapshot: Snapshot, sample: int | None, folder: Path
) -> dict[str, StoredRows]:
    """Write each split's rows into files, with the columns that training needs."""
    columns = spec.training_columns

    def store(name: str, *splits: Split, sample: int | None = None) -> StoredRows:
        return store_rows(
            folder / name,
            chain.from_iterable(split_weeks(snapshot, split, columns) for split in splits),
            codes_of=frozenset(one.name for one in spec.features if one.type == "category"),
            total=sum(split.rows for split in splits),
            sample=sample,
        )

    stored = {
        "train": store("train", snapshot.train, sample=sample),
        "validation": store("validation", snapshot.validation),
        "test": store("test", snapshot.test),
    }
    if sample is not None:
        stored["refit"] = store("refit", snapshot.train, snapshot.validation, sample=sample)
    return stored


def _record(
    runs: Runs, window: WindowRun, trained: Trained, started: float, page: str
) -> FinishedRun:
    """Write the run. When a twin with the same identity finished first, return the twin."""
    now = time.time()
    children = [
        technique_record(window, candidate, ended_ms=int(now * 1000))
        for candidate in trained.candidates
    ]
    with _scratch_folder() as folder:
        write_artifacts(folder, window, trained)
        (folder / "rows.html").write_text(page, encoding="utf-8")
        parent = window_record(
            window,
            trained.card,
            trained.winner,
            trained.figures,
            trained.why,
            started_ms=int((now - (time.monotonic() - started)) * 1000),
            ended_ms=int(time.time() * 1000),
        )
        run_id = runs.record(parent, children, list(rows_read(window)), folder)
    ours = FinishedRun(run_id, trained.card.technique, trained.card.model_digest)
    return runs.finished_run(window.identity) or ours


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    try:
        with TemporaryDirectory(prefix="ratchet-") as folder:
            yield Path(folder)
    except OSError as error:
        advice = "; make room, or set TMPDIR to a folder with room, and run again"
        where = error.filename or gettempdir()
        raise folder_error(f"{where} cannot be written", error, advice) from error


def _size(snapshot: Snapshot) -> str:
    rows = sum(partition.rows for partition in snapshot.partitions)
    return f"snapshot of {rows:,} rows in {len(snapshot.partitions)} weeks"


def _since(started: float) -> str:
    return f"{time.monotonic() - started:.1f} s"
