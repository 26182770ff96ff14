"""What a window's run says in MLflow: names, tags, parameters, figures, and the version's note."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from retrain.comparison.metrics import metric_named
from retrain.contract import ModelCard, Split, digest_of_json, utc_text
from retrain.fitting.training import Fitted, Ineligible
from retrain.fitting.window_run import WindowRun
from retrain.runs.port import NOTE, Record, Rows
from retrain.snapshot.snapshot import partitions_of


def window_record(
    window: WindowRun,
    card: ModelCard,
    winner: Fitted,
    measured: Mapping[str, float],
    why: str,
    *,
    started_ms: int,
    ended_ms: int,
) -> Record:
    """Return the parent run: the window, the technique that ships and its figures.

    Args:
        window: The run's request and rows.
        card: Of the model that ships.
        winner: The technique that ships, fitted.
        measured: Figures of the winner on validation and test rows.
        why: Why this technique was selected, as a sentence for people.
        started_ms: Milliseconds since 1970.
        ended_ms: Milliseconds since 1970.
    """
    note = _note(window, card.technique, measured, why)
    metrics = {
        **measured,
        **{f"{split}_rows": float(rows.num_rows) for split, rows in window.rows.items()},
        "onnx_largest_difference": winner.largest_difference,
        "refit_seconds": winner.seconds,
    }
    params = {
        **_technique_params(window, card.technique),
        "window_start": utc_text(window.start),
        "window_end": utc_text(window.end),
        "sample": window.sample or "all rows",
    }
    tags = _window_tags(window, card) | {NOTE: note}
    return Record(window.run_name, tags, params, metrics, started_ms, ended_ms)


def _window_tags(window: WindowRun, card: ModelCard) -> dict[str, str]:
    tags = {
        **_source_tags(window),
        "run_identity": window.identity,
        "plan_digest": window.spec.plan_digest,
        "snapshot_id": window.snapshot.snapshot_id,
        "window_start": utc_text(window.start),
        "window_end": utc_text(window.end),
        "technique": card.technique,
        "recipe_digest": card.recipe_digest,
        "model_digest": card.model_digest,
        "git_revision": window.git_revision,
        "reason": window.reason,
    }
    if window.weeks_without_rows:
        tags["weeks_without_rows"] = ", ".join(window.weeks_without_rows)
    if window.trained_on:
        tags["trained_on"] = window.trained_on
    return tags


def _source_tags(window: WindowRun) -> dict[str, str]:
    """Return the tags that MLflow itself shows as a run's source."""
    return {
        "mlflow.source.name": f"retrain run {window.spec.name}",
        "mlflow.source.git.commit": window.git_revision,
    }


def _technique_params(window: WindowRun, name: str) -> dict[str, object]:
    technique = window.spec.techniques[name]
    return {
        "technique": name,
        "estimator": technique.estimator,
        **technique.params,
        "seed": window.seed,
    }


def behind_sentence(weeks: Sequence[str]) -> str:
    """Return the warning about a window whose last weeks hold no rows.

    >>> behind_sentence(["2013-W28"])
    'window holds no rows in 2013-W28, its last weeks: see whether the source is behind'
    """
    names = ", ".join(weeks)
    return f"window holds no rows in {names}, its last weeks: see whether the source is behind"


def technique_record(window: WindowRun, candidate: Fitted | Ineligible, *, ended_ms: int) -> Record:
    """Return the child run of a technique: its figures on validation, or why it may not ship."""
    tags = {
        **_source_tags(window),
        "technique": candidate.name,
        "window_end": utc_text(window.end),
    }
    metrics = {"fit_seconds": candidate.seconds}
    problem = None
    if isinstance(candidate, Fitted):
        metrics |= window.figures("validation", candidate.scores)
        metrics["onnx_largest_difference"] = candidate.largest_difference
    else:
        problem = candidate.reason
        tags[NOTE] = f"Not eligible: {problem}"
    return Record(
        f"{window.run_name} {candidate.name}",
        tags,
        _technique_params(window, candidate.name),
        metrics,
        ended_ms - int(candidate.seconds * 1000),
        ended_ms,
        problem,
    )


def rows_read(window: WindowRun) -> Iterator[Rows]:
    """Yield the three splits as the datasets that the run read."""
    snapshot = window.snapshot
    for context in ("train", "validation", "test"):
        split: Split = getattr(snapshot, context)
        partitions = [partition.uri for partition in partitions_of(snapshot, split)]
        profile = {
            "num_rows": split.rows,
            "groups": len(split.groups),
            "start": utc_text(split.start),
            "end": utc_text(split.end),
        }
        yield Rows(
            name=f"{window.spec.name} {context}",
            context=context,
            digest=digest_of_json([snapshot.snapshot_id, context])[7:23],
            source=json.dumps({"snapshot_id": snapshot.snapshot_id, "partitions": partitions}),
            profile=json.dumps(profile),
        )


def _note(window: WindowRun, technique: str, measured: Mapping[str, float], why: str) -> str:
    metric, test_rows = window.spec.gate.metric, window.rows["test"].num_rows
    days = f"{window.start:%Y-%m-%d} to {window.end:%Y-%m-%d}"
    figure = (
        f"{metric_named(metric).label} {measured[f'test_{metric}']:.4f} on {test_rows:,} test rows"
    )
    note = f"{technique} on rows of {days}; {figure}. {why[0].upper()}{why[1:]}."
    if window.trained_on:
        note += f" Trained on {window.trained_on}."
    if window.weeks_without_rows:
        note += f" The {behind_sentence(window.weeks_without_rows)}."
    return note
