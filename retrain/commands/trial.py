"""`retrain try`: fits every technique on a sample and prints figures. It keeps nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from tempfile import TemporaryDirectory

import pyarrow as pa

from retrain.commands.terminal import errors_as_exit_codes, say, window_end
from retrain.comparison.metrics import metric_named
from retrain.contract import Snapshot
from retrain.fitting.contest import Trained, train
from retrain.fitting.stored_rows import evenly_spaced
from retrain.fitting.training import Fitted, warm_up
from retrain.fitting.window_run import WindowRun
from retrain.settings import Settings, read_settings
from retrain.snapshot.snapshot import build_snapshot, read_split
from retrain.snapshot.store import PartitionStore
from retrain.snapshot.window import sliding_window
from retrain.spec.files import load_model
from retrain.spec.model_file import ModelSpec
from retrain.wiring import open_source
from retrain.workflow import SEED


def try_and_report(model: str, end: str, *, sample: int) -> None:
    """Print how each technique does; the arguments are those of the command line."""
    with errors_as_exit_codes():
        moment = window_end(end)
        settings = read_settings()
        spec = load_model(settings.models, model)
        if settings.workers > 1:
            warm_up()
        window = _window(spec, moment, settings, sample)
        trained = train(window, champion=None, workers=settings.workers, say=say)
        print("\n".join(report(window, trained)))


def _window(spec: ModelSpec, end: datetime, settings: Settings, sample: int) -> WindowRun:
    with (
        TemporaryDirectory(prefix="ratchet-try-") as folder,
        open_source(settings, spec.source) as source,
    ):
        say(f"reading the window before {end:%Y-%m-%d} of `{spec.source}`")
        snapshot = build_snapshot(spec, end, source, PartitionStore(folder))
        rows = _rows(spec, snapshot, sample)
    return WindowRun(
        spec=spec,
        start=sliding_window(end, months=spec.window_months).start,
        end=end,
        snapshot=snapshot,
        rows=rows,
        identity="",
        seed=SEED,
        sample=sample,
        reason="",
        git_revision=settings.git_revision,
    )


def _rows(spec: ModelSpec, snapshot: Snapshot, sample: int) -> dict[str, pa.Table]:
    splits = {"train": snapshot.train, "validation": snapshot.validation, "test": snapshot.test}
    rows = {
        name: read_split(snapshot, split, spec.training_columns) for name, split in splits.items()
    }
    return {**rows, "train": evenly_spaced(rows["train"], sample)}


def report(window: WindowRun, trained: Trained) -> Iterator[str]:
    """Yield the lines: a table of the techniques on validation rows, then what would ship."""
    metrics, gate = window.spec.recorded_metrics, window.spec.gate.metric
    heads = [metric_named(metric).label for metric in metrics]
    widths = [max(10, len(head)) for head in heads]
    rows, fitted_on = window.rows["validation"].num_rows, window.rows["train"].num_rows
    yield f"{rows:,} validation rows, techniques fitted on {fitted_on:,} rows"
    yield _line("", heads, widths)
    constant = trained.figures[f"validation_{gate}_constant"]
    yield _line("a constant", [f"{constant:.4f}" if one == gate else "" for one in metrics], widths)
    for candidate in trained.candidates:
        if not isinstance(candidate, Fitted):
            yield f"{candidate.name}: not eligible, {candidate.reason}"
            continue
        found = window.figures("validation", candidate.scores)
        cells = [f"{found[f'validation_{metric}']:.4f}" for metric in metrics]
        yield f"{_line(candidate.name, cells, widths)}  {candidate.seconds:.1f} s"
    test, name = window.rows["test"].num_rows, trained.winner.name
    figure, beside = trained.figures[f"test_{gate}"], trained.figures[f"test_{gate}_constant"]
    yield (
        f"{name} would ship: {metric_named(gate).label} {figure:.4f} on {test:,} test rows,"
        f" the constant {beside:.4f}"
    )
    yield from trained.notes


def _line(name: str, cells: list[str], widths: list[int]) -> str:
    aligned = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
    return (f"{name:<24}" + "  ".join(aligned)).rstrip()
