"""`retrain check`: all mistakes of the model files, and on demand of the query's rows."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from retrain.commands.terminal import EXIT_USAGE, errors_as_exit_codes, say
from retrain.errors import MissingColumn
from retrain.settings import Settings, read_settings
from retrain.snapshot.canonical_rows import in_key_order
from retrain.snapshot.checks import checked_rows
from retrain.snapshot.feature_checks import mistakes_in_rows, warnings_about_rows
from retrain.spec.files import check_models
from retrain.spec.model_file import ModelSpec
from retrain.wiring import open_source

SOME_ROWS = 100_000


def check_and_report(model: str | None, *, with_data: bool, as_json: bool) -> None:
    """Print the mistakes of one model, or of all; the arguments are those of the command line."""
    with errors_as_exit_codes():
        settings = read_settings()
        checked = check_models(settings.models, model)
        for mistake in checked.mistakes:
            say(str(mistake))
        has_mistakes = bool(checked.mistakes)
        for spec in checked.specs:
            rows, problems = _checked_rows(settings, spec) if with_data else ("", [])
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


def _checked_rows(settings: Settings, spec: ModelSpec) -> tuple[str, list[str]]:
    """Run the query on some rows; return how many came, and their mistakes. Warnings are said.

    Raises:
        SourceError: The rows cannot be a snapshot, or lack a column that the policy's slices name.
    """
    with open_source(settings, spec.source) as source:
        rows = checked_rows(spec, source.head(spec, SOME_ROWS))
    in_key_order(rows, spec.columns.key)
    if missing := [name for name in spec.gate.slices.by if name not in rows.column_names]:
        raise MissingColumn(
            f"`gate.slices.by` names `{missing[0]}`, which {spec.query} does not return;"
            f" it returns {', '.join(rows.column_names)}"
        )
    for warning in warnings_about_rows(spec, rows):
        say(f"{spec.name}: {warning}")
    return f", {rows.num_rows} rows read", list(mistakes_in_rows(spec, rows))
