"""The `retrain` command. Imports live inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from retrain.settings import Settings
    from retrain.spec.model_file import ModelSpec

_FIRST_YEAR = 1970
EXIT_FAILED, EXIT_USAGE, EXIT_TRY_AGAIN, EXIT_UNCHANGED = 1, 2, 75, 99

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="""Retrain a model on a window of rows and register the challenger.

    Exit codes: 0 done · 1 failed, trying again will not help · 2 usage, a window in the future, or a mistake in the YAML ·
    75 try again, something was not reachable · 99 unchanged, nothing was trained.
    """,
)

ModelName = Annotated[
    str, typer.Argument(help="The `name:` of a YAML in RETRAIN_MODELS, e.g. flight-delay.")
]
WindowEnd = Annotated[
    str,
    typer.Option(
        "--end",
        help="First day, or moment, that is no longer in the window: 2013-07-08 is midnight UTC.",
    ),
]
OutcomeFile = Annotated[
    Path | None,
    typer.Option(
        "--outcome",
        metavar="FILE",
        help="Write the result as JSON there, too; nothing else is ever in that file. Not written when the run fails.",
    ),
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json", help="The last line of stdout is the result as JSON; all else goes to stderr."
    ),
]


@app.command()
def run(  # noqa: PLR0917 - Typer passes by keyword
    model: ModelName,
    end: WindowEnd,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Train on this many rows only; never registered.")
    ] = None,
    register: Annotated[bool, typer.Option(help="Register the challenger.")] = True,
    reason: Annotated[str, typer.Option(help="Why this run, for those who read it later.")] = "",
    outcome_file: OutcomeFile = None,
    as_json: AsJson = False,
) -> None:
    """Build the window's snapshot, train, select, refit and register. Exits 99 when no row changed since the last run."""
    with _errors_at_the_edge():
        window_end = _window_end(end)
        settings = _settings()
        spec = _load(settings, model)
        from retrain.workflow import run_window  # noqa: PLC0415 - heavy: mlflow, sklearn

        outcome = run_window(
            spec,
            end=window_end,
            settings=settings,
            sample=sample,
            register=register,
            reason=reason,
            progress=_say,
        )
        for note in outcome.notes:
            _say(note)
        if outcome_file:
            _write(outcome_file, outcome.model_dump_json())
        if as_json:
            _say(outcome.sentence)
        print(outcome.model_dump_json() if as_json else outcome.sentence)
        if outcome.outcome == "unchanged":
            raise typer.Exit(EXIT_UNCHANGED)


@app.command()
def check(
    model: Annotated[
        str | None, typer.Argument(help="A model's name; all models when left out.")
    ] = None,
    with_data: Annotated[
        bool, typer.Option("--data", help="Run the query on a few rows, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Report all mistakes of the YAML with file and line; without --data nothing but the two files is read."""
    from retrain.spec.files import check_models  # noqa: PLC0415 - pydantic and PyYAML

    with _errors_at_the_edge():
        settings = _settings()
        checked = check_models(settings.models, model)
        for mistake in checked.mistakes:
            _say(str(mistake))
        for spec in checked.specs:
            rows = f", {_checked_rows(settings, spec)} rows read" if with_data else ""
            (_say if as_json else print)(f"{spec.name}: no mistakes{rows}")
        if as_json:
            print(
                json.dumps(
                    {
                        "models": [spec.name for spec in checked.specs],
                        "mistakes": [asdict(mistake) for mistake in checked.mistakes],
                    }
                )
            )
        if checked.mistakes:
            raise typer.Exit(EXIT_USAGE)


@app.command()
def plan(model: ModelName, end: WindowEnd, as_json: AsJson = False) -> None:
    """Say what a run would read, train and compare. Reads the YAML and the store's index, neither rows nor MLflow."""
    with _errors_at_the_edge():
        window_end = _window_end(end)
        settings = _settings()
        spec = _load(settings, model)
        from retrain.plan import plan_run  # noqa: PLC0415 - numpy, pyarrow

        planned = plan_run(spec, window_end, settings.snapshots)
        print(planned.model_dump_json() if as_json else planned.as_text())


@app.command()
def schema() -> None:
    """Print the JSON Schema of a model's YAML, with which an editor completes and checks it."""
    from retrain.spec.model_file import published_schema  # noqa: PLC0415 - pydantic

    print(json.dumps(published_schema(), indent=2, ensure_ascii=False))


def _settings() -> Settings:
    from retrain.environment import SettingsRefused  # noqa: PLC0415 - pydantic: 0.2 s that --help need not wait for
    from retrain.settings import read_settings  # noqa: PLC0415 - as above

    try:
        return read_settings()
    except SettingsRefused as refusal:
        _fail("\n".join(["the settings are wrong:", *refusal.problems]), EXIT_USAGE)


def _load(settings: Settings, model: str) -> ModelSpec:
    from retrain.spec.files import load_model  # noqa: PLC0415 - pydantic and PyYAML

    return load_model(settings.models, model)


def _checked_rows(settings: Settings, spec: ModelSpec) -> int:
    """The query runs, and returns what the YAML names in types that a snapshot holds."""
    from retrain.sources.duckdb import check_query, open_source  # noqa: PLC0415 - ibis

    with open_source(settings.sources, spec.source) as source:
        return check_query(source, spec, rows=1000)


def _window_end(text: str) -> datetime:
    """The moment that a person typed; WindowInFuture when no run can have its rows."""
    from retrain.snapshot.window import check_not_in_future  # noqa: PLC0415 - numpy

    moment = _moment(text)
    check_not_in_future(moment, now=datetime.now(UTC))
    return moment


def _moment(text: str) -> datetime:
    usual = "a day or a moment such as 2013-07-08 or 2013-07-08T06:00:00+00:00, from 1970 on"
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        _fail(f"--end must be {usual}, is `{text}`", EXIT_USAGE)
    if moment.year < _FIRST_YEAR:
        _fail(f"--end must be {usual}, is `{text}`", EXIT_USAGE)
    return moment


def _write(path: Path, content: str) -> None:
    from retrain.snapshot.files import folder_error  # noqa: PLC0415 - pyarrow, which the run has loaded by now

    try:
        path.write_text(content + "\n", encoding="utf-8")
    except OSError as error:
        raise folder_error(f"--outcome {path} cannot be written", error) from error


def _say(line: str) -> None:
    """Progress and mistakes go to stderr: stdout is for what was asked."""
    print(line, file=sys.stderr, flush=True)


def _fail(sentence: str, code: int) -> NoReturn:
    _say(sentence)
    raise typer.Exit(code)


@contextmanager
def _errors_at_the_edge() -> Iterator[None]:
    """Our own errors become a sentence and an exit code; anything else is a fault of ours and keeps its traceback."""
    from retrain.errors import (  # noqa: PLC0415 - nothing heavy, but only needed now
        InvalidSpec,
        NaiveTimeError,
        RetrainError,
        UnknownModel,
        UnknownSource,
        WindowInFuture,
    )

    try:
        yield
    except (InvalidSpec, UnknownModel, UnknownSource, NaiveTimeError, WindowInFuture) as error:
        _fail(str(error), EXIT_USAGE)
    except RetrainError as error:
        _fail(str(error), EXIT_TRY_AGAIN if error.is_transient else EXIT_FAILED)
