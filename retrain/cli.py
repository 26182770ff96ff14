"""The `retrain` command: its arguments and its help. A command loads its module when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from retrain import __version__

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="""Retrain a model on a window of rows and register the challenger.

    Exit codes: 0 done · 1 failed, trying again will not help ·
    2 usage, a window in the future, or a mistake in the YAML ·
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
        help="First day, or moment, after the window: 2013-07-08 is midnight UTC.",
    ),
]
OutcomeFile = Annotated[
    Path | None,
    typer.Option(
        "--outcome",
        metavar="FILE",
        help="Also write the result as JSON to this file. A run that fails does not write it.",
    ),
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json", help="Print the result as JSON, the last line of stdout; all else on stderr."
    ),
]


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(f"ratchet {__version__}")
        raise typer.Exit


@app.callback()
def retrain(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Typer calls this before each command."""


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
    """Build the window's snapshot, train, select, refit and register.

    Exits with 99 when no row changed since the last run.
    """
    from retrain.commands.run import run_and_report

    run_and_report(
        model,
        end,
        sample=sample,
        register=register,
        reason=reason,
        outcome_file=outcome_file,
        as_json=as_json,
    )


@app.command()
def check(
    model: Annotated[
        str | None, typer.Argument(help="A model's name; all models when left out.")
    ] = None,
    with_data: Annotated[
        bool, typer.Option("--data", help="Also run the query, and compare its rows with the YAML.")
    ] = False,
    end: Annotated[
        str | None,
        typer.Option(
            help="With --data: read the whole window before this day, twice, instead of some rows."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Report all mistakes of the YAML with file and line.

    Without --data the command reads the YAML and the SQL file only. With --data --end it also says
    whether the query is repeatable, whether the test has enough groups, and what a constant scores.
    """
    from retrain.commands.check import check_and_report

    check_and_report(model, with_data=with_data or end is not None, end=end, as_json=as_json)


@app.command("try")
def try_model(
    model: ModelName,
    end: WindowEnd,
    sample: Annotated[
        int, typer.Option(min=100, help="Fit on this many rows, evenly spaced.")
    ] = 20_000,
) -> None:
    """Fit every technique on a sample and print its figures beside a constant's.

    The command reads the whole window. It keeps nothing and does not ask MLflow.
    """
    from retrain.commands.trial import try_and_report

    try_and_report(model, end, sample=sample)


@app.command()
def plan(model: ModelName, end: WindowEnd, as_json: AsJson = False) -> None:
    """Say what a run would read, train and compare.

    The command reads the YAML and the store's index. It does not read rows, nor ask MLflow.
    """
    from retrain.commands.plan import print_plan

    print_plan(model, end, as_json=as_json)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A new or an empty folder.")],
) -> None:
    """Write a repository of your own: gitops/, the gate's workflow, and room for model files.

    A second time the command writes only what is missing, and names the files that differ.
    """
    from retrain.commands.init import make_repository

    make_repository(folder)


@app.command()
def new(  # noqa: PLR0917 - Typer passes by keyword
    name: Annotated[str, typer.Argument(help="The new model's name, e.g. hotel-booking.")],
    query: Annotated[Path, typer.Option(help="The SQL file that returns all rows.")],
    source: Annotated[str, typer.Option(help="A name of RETRAIN_SOURCES.")] = "warehouse",
    owner: Annotated[str, typer.Option(help="Who reviews the model.")] = "@your-team",
    key: Annotated[str | None, typer.Option(help="The column that names each row.")] = None,
    event_time: Annotated[str | None, typer.Option(help="The column with each row's time.")] = None,
    label: Annotated[str | None, typer.Option(help="The column that the model answers.")] = None,
    groups: Annotated[
        str | None, typer.Option(help="The column whose rows share luck, such as the day.")
    ] = None,
) -> None:
    """Look at the rows of a query and write a first model file to RETRAIN_MODELS.

    A column that the rows do not show for certain is asked for by its option.
    """
    from retrain.commands.new import Named, write_first_file

    named = Named(key=key, event_time=event_time, label=label, groups=groups)
    write_first_file(name, query, source=source, owner=owner, named=named)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a model's YAML. Editors complete and check the YAML with it."""
    from retrain.commands.schema import print_schema

    print_schema()
