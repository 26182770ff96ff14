"""The `promote` command: its arguments and its help. A command loads its module when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from retrain import __version__

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="""Judge challengers, propose releases by pull request, record what served.

    Settings come from PROMOTE_… variables.

    Exit codes: 0 done, whatever the verdict · 1 failed, a person has to act ·
    2 usage or a wrong setting · 75 try again, something did not answer.
    """,
)

Model = Annotated[str, typer.Argument(help="The model's name, such as flight-delay.")]
Models = Annotated[
    list[str] | None, typer.Argument(help="Only these models; all of main's when left out.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@app.callback(invoke_without_command=True)
def promote(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Typer calls this before each command."""
    if version:
        print(f"ratchet {__version__}")
        raise typer.Exit


@app.command()
def serve() -> None:
    """Run the service: passes over all models, and HTTP.

    POST /nudge/{model}, GET /promotions and GET /health answer on PROMOTE_HOST and PROMOTE_PORT.
    """
    from promote.commands import serve as command

    command.run()


@app.command()
def mirror(
    folder: Annotated[Path, typer.Argument(help="The bare repository; it is made when absent.")],
    once: Annotated[bool, typer.Option("--once", help="Fetch once, then end.")] = False,
    interval_seconds: Annotated[
        float, typer.Option("--interval", min=0.1, help="Seconds between two fetches.")
    ] = 5.0,
) -> None:
    """Keep a bare mirror of main, from which Airflow reads its DAGs.

    Needs PROMOTE_FORGE_URL, PROMOTE_FORGE_TOKEN and PROMOTE_REPOSITORY. While the forge is away the
    mirror stays as it is, and Airflow goes on.
    """
    from promote.commands import mirror as command

    command.run(folder, once=once, interval_seconds=interval_seconds)


@app.command()
def reconcile(
    models: Models = None,
    once: Annotated[bool, typer.Option("--once", help="Make one pass, then end.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print each model's next act and do nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Act on every model until only waiting is left.

    Without --once a new pass begins every PROMOTE_INTERVAL_SECONDS.
    """
    from promote.commands import reconcile as command

    command.run(models, once=once, dry_run=dry_run, as_json=as_json)


@app.command()
def status(models: Models = None, as_json: AsJson = False) -> None:
    """Print where every model stands, and do nothing."""
    from promote.commands import status as command

    command.run(models, as_json=as_json)


@app.command()
def explain(
    model: Model,
    version: Annotated[int, typer.Argument(min=1, help="In the model registry.")],
    as_json: AsJson = False,
) -> None:
    """Explain the newest verdict of a version."""
    from promote.commands import explain as command

    command.run(model, version, as_json=as_json)


@app.command()
def judge(  # noqa: PLR0917 - Typer passes by keyword
    model: Model,
    as_json: AsJson = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 0 on promote, 3 on keep, 4 on inconclusive.")
    ] = False,
    local: Annotated[
        bool,
        typer.Option(
            "--local", help="Ask MLflow and the model file only: needs PROMOTE_TRACKING_URL alone."
        ),
    ] = False,
    against: Annotated[
        int | None,
        typer.Option(help="With --local: the version to beat; the constant when left out."),
    ] = None,
    models: Annotated[
        Path, typer.Option(help="With --local: the folder of the model files.")
    ] = Path("dags/models"),
) -> None:
    """Judge the challenger and keep nothing.

    The challenger is judged against main's release, by main's policy. With --local it is judged
    against the constant or a version, by the policy of the model file in a folder.
    """
    from promote.commands import judge as command

    if local:
        command.run_local(model, models, against=against, as_json=as_json, strict=strict)
    else:
        command.run(model, as_json=as_json, strict=strict)


@app.command()
def rollback(
    model: Model,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the reviewer.")],
    to: Annotated[
        int | None,
        typer.Option(
            "--to",
            min=1,
            help="The version to return to; when left out, the last other one that served.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Open the pull request that goes back to an earlier release.

    A second call names the pull request that is open.
    """
    from promote.commands import rollback as command

    command.run(model, reason=reason, version=to, as_json=as_json)


@app.command(name="served-at")
def served_at(
    model: Model,
    instant: Annotated[str, typer.Argument(help="With a time zone, such as 2026-05-04T12:00:00Z.")],
    as_json: AsJson = False,
) -> None:
    """Print which version was last seen healthy at an instant, and why.

    The answer comes from main's history and the statuses of its commits.
    """
    from promote.commands import served_at as command

    command.run(model, instant, as_json=as_json)
