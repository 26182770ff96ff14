"""`retrain run`: one window, from rows to a registered challenger."""

from __future__ import annotations

from pathlib import Path

import typer

from retrain.commands.terminal import EXIT_UNCHANGED, errors_as_exit_codes, say, window_end
from retrain.settings import Settings, read_settings
from retrain.snapshot.files import folder_error
from retrain.spec.by_value import model_by_value
from retrain.spec.files import load_model
from retrain.spec.model_file import ModelSpec
from retrain.wiring import open_runs, open_source
from retrain.workflow import run_window


def run_and_report(
    model: str,
    end: str,
    *,
    sample: int | None,
    register: bool,
    reason: str,
    outcome_file: Path | None,
    as_json: bool,
) -> None:
    """Run the window and print how it ended; the arguments are those of the command line."""
    with errors_as_exit_codes():
        moment = window_end(end)
        settings = read_settings()
        spec = _spec(settings, model)
        outcome = run_window(
            spec,
            end=moment,
            settings=settings,
            runs=open_runs(settings, spec.name),
            source=open_source(settings, spec.source),
            sample=sample,
            register=register,
            reason=reason,
            progress=say,
        )
        for note in outcome.notes:
            say(note)
        if outcome_file:
            _write(outcome_file, outcome.model_dump_json())
        if as_json:
            say(outcome.sentence)
        print(outcome.model_dump_json() if as_json else outcome.sentence)
        if outcome.outcome == "unchanged":
            raise typer.Exit(EXIT_UNCHANGED)


def _spec(settings: Settings, model: str) -> ModelSpec:
    if settings.model_files:
        return model_by_value(settings.model_files, model)
    return load_model(settings.models, model)


def _write(path: Path, content: str) -> None:
    try:
        path.write_text(content + "\n", encoding="utf-8")
    except OSError as error:
        raise folder_error(f"--outcome {path} cannot be written", error) from error
