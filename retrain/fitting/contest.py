"""The contest of techniques: which one ships, fitted how, and with which figures.

All are fitted on train. Validation selects one, which is refitted on both and measured on test.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from retrain.comparison.metrics import metric_named
from retrain.contract import ModelAbout, ModelCard
from retrain.errors import TrainingError
from retrain.fitting.export import model_about, model_card, model_schema
from retrain.fitting.selection import select_technique
from retrain.fitting.stored_rows import StoredRows, evenly_spaced, table_of
from retrain.fitting.training import Fit, Fitted, Floats, Ineligible, fit_all
from retrain.fitting.window_run import WindowRun


@dataclass(frozen=True)
class Trained:
    """The model that ships, and the contest that it won."""

    candidates: tuple[Fitted | Ineligible, ...]
    """Fitted on train alone."""
    winner: Fitted
    """Fitted on train and validation."""
    card: ModelCard
    about: ModelAbout
    test_scores: Floats
    figures: dict[str, float]
    """`validation_…` of the technique fitted on train; `test_…` of the model that ships."""
    why: str
    notes: tuple[str, ...]


def train(
    window: WindowRun, *, champion: str | None, workers: int, say: Callable[[str], None]
) -> Trained:
    """Return the model that ships.

    Args:
        window: What to do, and the rows.
        champion: The technique that production runs.
        workers: Processes to fit techniques in; 1 is this one.
        say: Takes a sentence for each step, for people.

    Raises:
        OneClassLabel: A split has labels of one class only.
        TrainingError: No technique may ship; the message says why, technique by technique.
    """
    spec, rows = window.spec, window.rows
    labels = {split: window.labels(split) for split in rows}
    candidates = _timed(
        say,
        [
            _fit(window, name, _rows(window, "train"), _rows(window, "validation"))
            for name in spec.techniques
        ],
        workers,
    )
    eligible = {one.name: one for one in candidates if isinstance(one, Fitted)}
    refused = [
        f"{one.name} is not eligible: {one.reason}"
        for one in candidates
        if isinstance(one, Ineligible)
    ]
    if not eligible:
        raise TrainingError(f"no technique of {spec.name} may ship: {'; '.join(refused)}")
    groups = rows["validation"].column(spec.columns.groups).cast(pa.string()).to_pylist()
    scores = {name: one.scores for name, one in eligible.items()}
    selection = select_technique(
        spec.gate.metric,
        labels["validation"],
        scores,
        groups,
        champion=champion,
        confidence=spec.gate.change.better_with_confidence,
    )
    winner, also_refused = _refit(window, selection.order, workers, say)
    test_scores = winner.scores[rows["validation"].num_rows :]
    measured = {
        **window.figures("validation", scores[winner.name]),
        **window.constant_figure("validation", "train"),
        **window.figures("test", test_scores),
        **window.constant_figure("test", "train", "validation"),
    }
    schema = model_schema(winner.features, table_of(_refit_rows(window)), spec.answer)
    about = model_about(spec.title, winner.features, rows["test"])
    return Trained(
        candidates=tuple(candidates),
        winner=winner,
        card=model_card(
            spec, winner.name, window.snapshot.snapshot_id, schema, winner.network, about=about
        ),
        about=about,
        test_scores=test_scores,
        figures=measured,
        why=selection.sentence,
        notes=(
            selection.sentence,
            _beside_constant(spec.gate.metric, winner.name, measured),
            *refused,
            *also_refused,
            *_dropped(window, winner),
            *([f"trained on {window.trained_on}"] if window.trained_on else []),
        ),
    )


def _refit(
    window: WindowRun, order: Sequence[str], workers: int, say: Callable[[str], None]
) -> tuple[Fitted, list[str]]:
    """The first technique whose refit exports exactly."""
    fitted_on, held_out = _refit_rows(window), _rows(window, "validation", "test")
    refused: list[str] = []
    for name in order:
        refit = _timed(say, [_fit(window, name, fitted_on, held_out)], workers)[0]
        if isinstance(refit, Fitted):
            return refit, refused
        refused.append(f"{name}, refitted on train and validation, is not eligible: {refit.reason}")
    raise TrainingError(f"no technique of {window.spec.name} may ship: {'; '.join(refused)}")


def _refit_rows(window: WindowRun) -> pa.Table | StoredRows:
    """Return the rows of train and validation, sampled over both."""
    if sampled := window.stored.get("refit"):
        return sampled
    rows = _rows(window, "train", "validation")
    if window.sample is None:
        return rows
    return evenly_spaced(table_of(rows), window.sample)


def _rows(window: WindowRun, *splits: str) -> pa.Table | StoredRows:
    """Return the rows of splits, as files when there are files: a worker maps those."""
    if window.stored:
        first, *others = (window.stored[split] for split in splits)
        return sum(others, start=first)
    return pa.concat_tables([window.rows[split] for split in splits])


def _fit(
    window: WindowRun, name: str, rows: pa.Table | StoredRows, held_out: pa.Table | StoredRows
) -> Fit:
    spec = window.spec
    return Fit(
        name,
        spec.techniques[name],
        spec.features,
        spec.task,
        spec.columns.label,
        spec.columns.weight,
        spec.answer,
        rows,
        held_out,
        window.seed,
    )


def _timed(
    say: Callable[[str], None], tasks: Sequence[Fit], workers: int
) -> list[Fitted | Ineligible]:
    started = time.monotonic()
    outcomes = fit_all(tasks, workers=workers)
    each = ", ".join(
        f"{one.name} {'is not eligible' if isinstance(one, Ineligible) else f'{one.seconds:.1f} s'}"
        for one in outcomes
    )
    say(f"fitted on {tasks[0].train.num_rows:,} rows: {each} ({time.monotonic() - started:.1f} s)")
    return outcomes


def _beside_constant(metric: str, winner: str, measured: Mapping[str, float]) -> str:
    """Return how the winner did beside the constant, on the validation rows."""
    chosen, name = metric_named(metric), f"validation_{metric}"
    ours, constant = measured[name], measured[f"{name}_constant"]
    is_better = chosen.sign * (ours - constant) > 0
    verb = "is better than" if is_better else "is NOT better than"
    return (
        f"{winner} {verb} a constant answer on the validation rows:"
        f" {chosen.label} {ours:.4f}, the constant {constant:.4f}"
    )


def _dropped(window: WindowRun, winner: Fitted) -> list[str]:
    kept = {feature.name for feature in winner.features}
    return [
        f"{feature.name} has no value in the window: the model does not take it"
        for feature in window.spec.features
        if feature.name not in kept
    ]
