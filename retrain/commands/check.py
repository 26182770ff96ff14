"""`retrain check`: all mistakes of the model files, and on demand of the query's rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

import typer

from retrain.commands.terminal import EXIT_USAGE, errors_as_exit_codes, say, window_end
from retrain.errors import MissingColumn, RetrainError
from retrain.settings import Settings, read_settings
from retrain.snapshot.canonical_rows import in_key_order
from retrain.snapshot.checks import checked_rows
from retrain.snapshot.feature_checks import mistakes_in_rows, warnings_about_rows
from retrain.spec.files import check_models
from retrain.spec.model_file import ModelSpec
from retrain.wiring import open_source

SOME_ROWS = 100_000


def check_and_report(model: str | None, *, with_data: bool, end: str | None, as_json: bool) -> None:
    """Print the mistakes of one model, or of all; the arguments are those of the command line."""
    with errors_as_exit_codes():
        settings, moment = read_settings(), window_end(end) if end else None
        checked = check_models(settings.models, model)
        for mistake in checked.mistakes:
            say(str(mistake))
        has_mistakes = bool(checked.mistakes)
        for spec in checked.specs:
            rows, problems = _said_about_rows(settings, spec, moment) if with_data else ("", [])
            for problem in problems:
                say(f"{spec.name}: {problem}")
            has_mistakes |= bool(problems)
            if not problems:
                (say if as_json else print)(f"{spec.name}: no mistakes{rows}")
        if as_json:
            names = [spec.name for spec in checked.specs]
            mistakes = [asdict(mistake) for mistake in checked.mistakes]
            print(json.dumps({"models": names, "mistakes": mistakes}))
        if has_mistakes:
            raise typer.Exit(EXIT_USAGE)


def _said_about_rows(
    settings: Settings, spec: ModelSpec, end: datetime | None
) -> tuple[str, list[str]]:
    """Return what was read, and the mistakes of a model's rows; the next model is checked, too.

    Raises:
        RetrainError: An outage. Another try may mend it.
    """
    try:
        return (
            _checked_rows(settings, spec) if end is None else _checked_window(settings, spec, end)
        )
    except RetrainError as error:
        if error.is_transient:
            raise
        return "", [str(error)]


def _checked_window(settings: Settings, spec: ModelSpec, end: datetime) -> tuple[str, list[str]]:
    from retrain.commands.window_check import check_window  # noqa: PLC0415 - scipy, which only this option needs

    with open_source(settings, spec.source) as source:
        say(f"{spec.name}: reading the window before {end:%Y-%m-%d} twice")
        _require_slices(spec, source.head(spec, 1).column_names)
        found = check_window(spec, end, source)
    for warning in found.warnings:
        say(f"{spec.name}: {warning}")
    return f", {found.fact}", list(found.mistakes)


def _checked_rows(settings: Settings, spec: ModelSpec) -> tuple[str, list[str]]:
    """Run the query on some rows; return how many came, and their mistakes. Warnings are said.

    Raises:
        SourceError: The rows cannot be a snapshot, or lack a column that the policy's slices name.
    """
    with open_source(settings, spec.source) as source:
        rows = checked_rows(spec, source.head(spec, SOME_ROWS))
    in_key_order(rows, spec.columns.key)
    _require_slices(spec, rows.column_names)
    for warning in warnings_about_rows(spec, rows):
        say(f"{spec.name}: {warning}")
    return f", {rows.num_rows} rows read", list(mistakes_in_rows(spec, rows))


def _require_slices(spec: ModelSpec, columns: Sequence[str]) -> None:
    if missing := [name for name in spec.gate.slices.by if name not in columns]:
        raise MissingColumn(
            f"`gate.slices.by` names `{missing[0]}`, which {spec.query} does not return;"
            f" it returns {', '.join(columns)}"
        )
