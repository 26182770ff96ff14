"""One window from rows to a registered challenger: snapshot, fit all techniques, select, refit, check, record, register.

May be killed anywhere and run again. What was fitted is lost, what MLflow holds is found by its identity: one finished run and one version for each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Literal

import pyarrow as pa
from pydantic import AwareDatetime

from retrain.contract import Contract, Digest, Snapshot, digest_of_bytes, digest_of_json, utc_text
from retrain.errors import LockMissing
from retrain.fitting.contest import Trained, train
from retrain.fitting.frames import evenly_spaced
from retrain.fitting.training import warm_up
from retrain.fitting.window_run import WindowRun
from retrain.runs.artifacts import write_artifacts
from retrain.runs.port import FinishedRun, RegisteredVersion, Runs
from retrain.runs.record import behind_sentence, rows_read, technique_record, window_record
from retrain.settings import Settings
from retrain.snapshot.files import folder_error
from retrain.snapshot.snapshot import build_snapshot, is_unchanged, read_split
from retrain.snapshot.store import PartitionStore
from retrain.snapshot.window import sliding_window, weeks_without_rows
from retrain.sources.port import Source
from retrain.spec.model_file import ModelSpec

SEED = 20_130_101
"""Of every estimator, so that a run can be repeated; part of a run's identity."""
Say = Callable[[str], None]
Outcome = Literal["registered", "found", "unchanged", "not_registered"]


class RunOutcome(Contract):
    """How a run of a window ended."""

    model: str
    window_end: AwareDatetime
    outcome: Outcome
    """`found`: an earlier run had this identity. `unchanged`: no row changed since the last registered run, so nothing was trained."""
    version: int | None
    run_id: str | None
    technique: str | None
    model_digest: Digest | None
    snapshot_id: Digest
    seconds: float
    notes: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The outcome, for people."""
        return _SENTENCES[self.outcome].format(**dict(self), day=utc_text(self.window_end))


_SENTENCES = {
    "registered": "{model} version {version} ({technique}) is registered as challenger for the window before {day}, after {seconds:.1f} s.",
    "found": "{model} for the window before {day} was already there: run {run_id}, version {version}. Nothing was trained.",
    "unchanged": "{model}: no row of the window before {day} changed since version {version}. Nothing was trained or registered.",
    "not_registered": "{model} ({technique}) for the window before {day} is in MLflow as run {run_id}, not registered, after {seconds:.1f} s.",
}


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
        end: Aware; the first moment that is no longer in the window.
        settings: Where snapshots are, and how many processes train.
        runs: The model's runs and versions.
        source: The warehouse; open only while rows are read.
        sample: Train on this many rows only, evenly spaced; such a run is never registered.
        register: False to look at a run in MLflow first.
        reason: Why, for those who read the run later.
        progress: Takes a sentence for each step, for people.

    Raises:
        RetrainError: See `retrain.errors`; the transient ones are worth another try, and nothing is half-registered.
    """
    started = time.monotonic()
    if settings.workers > 1:
        warm_up()
    runs.check()
    with source as rows:
        snapshot = build_snapshot(spec, end, rows, PartitionStore(settings.snapshots))
    progress(
        f"snapshot of {sum(part.rows for part in snapshot.partitions):,} rows in {len(snapshot.partitions)} weeks ({_since(started)})"
    )
    missing = weeks_without_rows(
        sliding_window(end, months=spec.window_months),
        [part.week for part in snapshot.partitions],
        label_delay=spec.label_delay,
    )
    behind = (f"the {behind_sentence(missing)}",) if missing else ()
    champion = runs.champion_technique()
    identity = run_identity(spec, snapshot, settings, champion=champion, sample=sample)
    registers = register and sample is None
    answer = _Answer(spec.name, end, snapshot.snapshot_id, started, behind)

    if earlier := runs.finished_run(identity):
        return answer.of_earlier(
            earlier,
            runs.registered(earlier.run_id),
            runs.register(earlier.run_id, title=spec.title) if registers else None,
        )
    last = runs.last_snapshot(spec.plan_digest) if registers else None
    if last and is_unchanged(snapshot, last[1]):
        return answer.unchanged(last[0])

    window = WindowRun(
        spec=spec,
        start=sliding_window(end, months=spec.window_months).start,
        end=end,
        snapshot=snapshot,
        rows=_rows(spec, snapshot, sample),
        identity=identity,
        seed=SEED,
        sample=sample,
        reason=reason,
        git_revision=settings.git_revision,
        weeks_without_rows=missing,
    )
    trained = train(window, champion=champion, workers=settings.workers, say=progress)
    run = _record(runs, window, trained, started)
    progress(f"recorded in MLflow ({_since(started)})")
    return answer.of_new(
        run, runs.register(run.run_id, title=spec.title) if registers else None, trained.notes
    )


def run_identity(
    spec: ModelSpec,
    snapshot: Snapshot,
    settings: Settings,
    *,
    champion: str | None,
    sample: int | None,
) -> Digest:
    """Return what makes two runs the same run: rows, plan, libraries, seed, the champion's technique and the sample.

    Raises:
        LockMissing: The lock file that names the libraries is not there.
    """
    try:
        lock = digest_of_bytes(settings.lock.read_bytes())
    except OSError as error:
        raise LockMissing(
            f"RETRAIN_LOCK names {settings.lock}, which cannot be read ({error.strerror}); it tells runs of other libraries apart"
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


@dataclass(frozen=True)
class _Answer:
    """Makes the outcome of each way that a run can end."""

    model: str
    end: datetime
    snapshot_id: str
    started: float
    notes: tuple[str, ...]
    """Of the window, whatever becomes of it."""

    def of_earlier(
        self, earlier: FinishedRun, before: RegisteredVersion | None, now: RegisteredVersion | None
    ) -> RunOutcome:
        if now and not before:
            return self._make(
                "registered",
                now.version,
                earlier,
                ("an earlier attempt had trained it and was stopped before it was registered",),
            )
        return self._make("found", before.version if before else None, earlier, ())

    def unchanged(self, last: RegisteredVersion) -> RunOutcome:
        return self._make("unchanged", last.version, None, ())

    def of_new(
        self, run: FinishedRun, version: RegisteredVersion | None, notes: tuple[str, ...]
    ) -> RunOutcome:
        return self._make(
            "registered" if version else "not_registered",
            version.version if version else None,
            run,
            notes,
        )

    def _make(
        self, outcome: Outcome, version: int | None, run: FinishedRun | None, notes: tuple[str, ...]
    ) -> RunOutcome:
        return RunOutcome(
            model=self.model,
            window_end=self.end,
            outcome=outcome,
            version=version,
            run_id=run.run_id if run else None,
            technique=run.technique if run else None,
            model_digest=run.model_digest if run else None,
            snapshot_id=self.snapshot_id,
            seconds=time.monotonic() - self.started,
            notes=(*self.notes, *notes),
        )


def _rows(spec: ModelSpec, snapshot: Snapshot, sample: int | None) -> dict[str, pa.Table]:
    """Each split's rows, with the columns that training needs."""
    columns = [
        *dict.fromkeys(
            [*(feature.name for feature in spec.features), snapshot.label, snapshot.groups]
        )
    ]
    rows = {
        split: read_split(snapshot, getattr(snapshot, split), columns)
        for split in ("train", "validation", "test")
    }
    return rows if sample is None else {**rows, "train": evenly_spaced(rows["train"], sample)}


def _record(runs: Runs, window: WindowRun, trained: Trained, started: float) -> FinishedRun:
    """Write the run; when a twin with the same identity finished first, that one is the run."""
    now = time.time()
    children = [
        technique_record(window, candidate, ended_ms=int(now * 1000))
        for candidate in trained.candidates
    ]
    with _scratch_folder() as folder:
        write_artifacts(folder, window, trained)
        started_ms = int((now - (time.monotonic() - started)) * 1000)
        parent = window_record(
            window,
            trained.card,
            trained.winner,
            trained.figures,
            trained.why,
            started_ms=started_ms,
            ended_ms=int(time.time() * 1000),
        )
        run_id = runs.record(parent, children, list(rows_read(window)), folder)
    return runs.finished_run(window.identity) or FinishedRun(
        run_id, trained.card.technique, trained.card.model_digest
    )


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    try:
        with TemporaryDirectory(prefix="ratchet-") as folder:
            yield Path(folder)
    except OSError as error:
        where = error.filename or gettempdir()
        raise folder_error(
            f"{where} cannot be written",
            error,
            "; make room, or set TMPDIR to a folder with room, and run again",
        ) from error


def _since(started: float) -> str:
    return f"{time.monotonic() - started:.1f} s"
