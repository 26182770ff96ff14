"""`promote …`: the reconciler by hand, and questions about what it did. Libraries are loaded inside the commands."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from promote.contract import Promotion, Verdict
    from promote.loop.observer import Parts
    from promote.loop.reconciler import Reconciler
    from promote.settings import PromoteSettings

USAGE, TRY_AGAIN, FAILED = 2, 75, 1
STRICT = {"promote": 0, "keep": 3, "inconclusive": 4}

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="Judge challengers, propose releases by pull request, record what served.\n\n"
    "Settings come from PROMOTE_… variables. Exit codes: 0 done, whatever the verdict; 1 failed, a person has to act; 2 usage; "
    "75 something did not answer, try again.",
)

_WHO = {
    "promote": "promote",
    "rollout": "the rollout",
    "outage": "an answer",
    "reviewer": "a reviewer",
    "person": "a person",
}

_OF_A_CHALLENGER = {
    "had its turn",
    "proposed",
    "rejected",
    "unjudged",
    "kept",
    "inconclusive",
    "unbuilt",
    "unbranched",
    "unopened",
}
"""States that speak of the challenger; the others speak of what main names or of a pull request."""

Model = Annotated[str, typer.Argument(help="The model's name, such as flight-delay.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@app.command()
def serve() -> None:
    """Run the service: the loop over all models, POST /nudge/{model}, GET /promotions, GET /health. Listens on PROMOTE_HOST and PROMOTE_PORT."""
    with _errors_at_the_edge():
        settings = _settings()
        _log_lines()
        import uvicorn  # noqa: PLC0415 - slow to load

        from promote.loop.policy import is_model, models_on_main  # noqa: PLC0415 - slow to load
        from promote.web.app import Loop, create_app  # noqa: PLC0415 - slow to load
        from promote.wiring import open_parts  # noqa: PLC0415 - slow to load

        parts, reconciler = _open(settings)
        asked = open_parts(settings)
        loop = Loop(
            reconciler,
            lambda: sorted(models_on_main(parts.forge, parts.forge.head())),
            is_model=lambda model: is_model(asked.forge, asked.registry, model),
            environment=settings.environment,
            interval_seconds=settings.interval_seconds,
        )
        uvicorn.run(
            create_app(loop),
            host=settings.host,
            port=settings.port,
            log_level="warning",
            access_log=False,
        )


@app.command()
def reconcile(
    models: Annotated[
        list[str] | None, typer.Argument(help="Only these models; all of main's if none.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="One pass, then end.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say the next act of each model and do nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Do what is to be done for every model, until only waiting is left; go on every PROMOTE_INTERVAL_SECONDS unless --once."""
    with _errors_at_the_edge():
        settings = _settings()
        _log_lines()
        parts, reconciler = _open(settings)
        while not (once or dry_run):
            _pass_on(parts, reconciler, models, as_json=as_json)
            time.sleep(settings.interval_seconds)  # nothing tells us of a merge: ask again
        found = [
            _one(reconciler, model, dry_run=dry_run, as_json=as_json)
            for model in _models(parts, models)
        ]
    waits = {promotion.waits_for for promotion in found}
    if waits & {"outage", "person"}:
        raise typer.Exit(TRY_AGAIN if "person" not in waits else FAILED)


@app.command()
def status(
    models: Annotated[
        list[str] | None, typer.Argument(help="Only these models; all of main's if none.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say where every model stands, without doing anything."""
    with _errors_at_the_edge():
        parts, reconciler = _open(_settings())
        found = [reconciler.preview(model)[0] for model in _models(parts, models)]
        if as_json:
            _print_json([promotion.model_dump(mode="json") for promotion in found])
        for promotion in found if not as_json else []:
            print(_paragraph(promotion))


@app.command()
def explain(
    model: Model,
    version: Annotated[int, typer.Argument(min=1, help="Of the model registry.")],
    as_json: AsJson = False,
) -> None:
    """Say in words what the gate found about a version, and why; the newest verdict if there are several."""
    with _errors_at_the_edge():
        from promote.loop.observer import tag_value  # noqa: PLC0415 - slow to load

        parts, reconciler = _open(_settings())
        registered = parts.registry.version(model, version)
        tags = sorted(
            (value for name, value in registered.tags.items() if name.startswith("verdict.")),
            key=lambda value: tag_value(value).get("at", ""),
        )
        if not tags:
            _fail(
                f"version {version} of {model} was not judged yet. `promote judge {model}` judges the challenger without acting.",
                FAILED,
            )
        _show(reconciler.observer.verdict_behind(registered, tags[-1]), as_json=as_json)


@app.command()
def judge(
    model: Model,
    as_json: AsJson = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 0 on promote, 3 on keep, 4 on inconclusive.")
    ] = False,
) -> None:
    """Judge the challenger against what main names by main's policy, without acting or keeping anything."""
    with _errors_at_the_edge():
        from promote.evidence.judging import EvidenceJudge  # noqa: PLC0415 - slow to load
        from promote.loop.policy import read_policy  # noqa: PLC0415 - slow to load
        from promote.release.history import has_served  # noqa: PLC0415 - slow to load
        from promote.release.history_reader import HistoryReader  # noqa: PLC0415 - slow to load

        parts, _ = _open(_settings())
        challenger = parts.registry.challenger(model)
        if challenger is None:
            _fail(f"{model} has no challenger. `retrain run {model}` registers one.", FAILED)
        main = parts.forge.head()
        history = HistoryReader(parts.forge, parts.environment).read(model, main)
        champion = history[0].release if history else None
        judged = EvidenceJudge(parts.registry)(
            challenger,
            champion,
            read_policy(parts.forge, model, main).gate,
            had_release=has_served(history),
        )
        _show(judged.verdict, as_json=as_json)
    raise typer.Exit(STRICT[judged.verdict.outcome] if strict else 0)


@app.command()
def rollback(
    model: Model,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the reviewer.")],
    to: Annotated[
        int | None,
        typer.Option(
            "--to",
            min=1,
            help="The version to return to; the last other one that served if not given.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Open the pull request that goes back to an earlier release. Asked again, the same pull request is named."""
    with _errors_at_the_edge():
        from promote.loop.way_back import WayBack  # noqa: PLC0415 - slow to load
        from promote.wiring import open_forge  # noqa: PLC0415 - slow to load

        settings = _settings()
        asked = WayBack(open_forge(settings), settings.environment).roll_back(
            model, reason=reason, version=to
        )
        pull = asked.pull
        if as_json:
            more = {"is_new": asked.is_new, "replaced": list(asked.replaced)}
            _print_json(
                {
                    "pull_request": pull.number,
                    "url": pull.url,
                    "branch": pull.branch,
                    "title": pull.title,
                }
                | more
            )
            return
        was = "" if asked.is_new else " is open already; the reason was added to it as a comment"
        print(f"Pull request {pull.number}, {pull.title}{was}: {pull.url}")
        if asked.replaced:
            print(
                f"Closed, since it went elsewhere: {', '.join(f'pull request {number}' for number in asked.replaced)}."
            )
        print("Merging it rolls it out.")


@app.command(name="served-at")
def served_at(
    model: Model,
    instant: Annotated[str, typer.Argument(help="With a time zone, such as 2026-05-04T12:00:00Z.")],
    as_json: AsJson = False,
) -> None:
    """Say which version served at an instant, and why: from main's history and the statuses of its commits."""
    at = _moment(instant)
    with _errors_at_the_edge():
        from promote.release.history import served_at as find  # noqa: PLC0415 - slow to load
        from promote.release.history_reader import HistoryReader  # noqa: PLC0415 - slow to load
        from promote.release.manifest import branch_prefix  # noqa: PLC0415 - slow to load
        from promote.wiring import open_forge  # noqa: PLC0415 - slow to load

        settings = _settings()
        forge = open_forge(settings)
        served = find(HistoryReader(forge, settings.environment).read(model, forge.head()), at)
        answer: dict[str, Any] = dict.fromkeys(
            ("version", "image", "image_digest", "pull_request", "commit", "healthy_at")
        )
        answer |= {
            "at": at.isoformat(),
            "model": model,
            "why": "no release had been seen healthy by then, or main named none",
        }
        if served:
            pulls = forge.pull_requests(branch_prefix(model, settings.environment))
            number = next(
                (pull.number for pull in pulls if pull.merge_commit == served.commit), None
            )
            image = served.release.image
            answer |= {
                "version": served.release.version,
                "image": image,
                "image_digest": image.rpartition("@")[2],
                "pull_request": number,
            }
            answer |= {
                "commit": served.commit,
                "healthy_at": served.healthy_at.isoformat(),
                "why": served.why,
            }
        if as_json:
            _print_json(answer)
        else:
            what = (
                f"version {answer['version']} ({answer['image']}, pull request {answer['pull_request']})"
                if served
                else "nothing"
            )
            print(f"{model} at {at.isoformat()}: {what}: {answer['why']}.")


def _pass_on(
    parts: Parts, reconciler: Reconciler, models: list[str] | None, *, as_json: bool
) -> None:
    """One pass; what could not be listed is asked again with the next one."""
    from promote.errors import Unavailable  # noqa: PLC0415 - slow to load

    try:
        for model in _models(parts, models):
            _one(reconciler, model, dry_run=False, as_json=as_json)
    except Unavailable as error:
        logging.getLogger("promote").warning("state='blind' error=%s", error)


def _one(reconciler: Reconciler, model: str, *, dry_run: bool, as_json: bool) -> Promotion:
    if dry_run:
        promotion, step = reconciler.preview(model)
        print(
            json.dumps({"act": step.act} | promotion.model_dump(mode="json"))
            if as_json
            else f"{_line(promotion)} (next act: {step.act})"
        )
        return promotion
    promotion = reconciler.reconcile(model)
    print(promotion.model_dump_json() if as_json else _line(promotion), flush=True)
    return promotion


def _models(parts: Parts, models: list[str] | None) -> list[str]:
    from promote.loop.policy import models_on_main  # noqa: PLC0415 - slow to load

    return models or sorted(models_on_main(parts.forge, parts.forge.head()))


def _line(promotion: Promotion) -> str:
    about = f" v{promotion.version}" if promotion.version else ""
    pull = f", pull request {promotion.pull_request}" if promotion.pull_request else ""
    rest = f"waits for {_WHO[promotion.waits_for]}" if promotion.waits_for else "done"
    return f"{promotion.model}{about} in {promotion.environment}: {promotion.state}{pull}; {rest}. {promotion.reason}"


def _paragraph(promotion: Promotion) -> str:
    """Say what runs, what is open and what is waited for, with addresses."""
    serving, lines = promotion.serving, [f"{promotion.model} in {promotion.environment}"]
    if serving:
        pull = (
            f" by pull request {serving.pull_request}: {serving.url}"
            if serving.url
            else " by a push to main"
        )
        lines.append(f"  serving   v{serving.version} since {_at(serving.since)}{pull}")
    else:
        lines.append("  serving   nothing that promote has seen healthy")
    for one in promotion.open:
        what = (
            f"v{one.version}" if one.purpose == "promotion" else f"{one.purpose} to v{one.version}"
        )
        lines.append(
            f"  open      pull request {one.number}, {what}, since {_at(one.since)}: {one.url}"
        )
    since = f" since {_at(promotion.since)}" if promotion.since else ""
    about = (
        f"v{promotion.version} "
        if promotion.version and promotion.state in _OF_A_CHALLENGER
        else ""
    )
    lines.append(f"  state     {about}{promotion.state}{since}. {promotion.reason}")
    lines.append(
        f"  waits for {_WHO[promotion.waits_for]}" if promotion.waits_for else "  waits for nothing"
    )
    return "\n".join(lines)


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _show(verdict: Verdict, *, as_json: bool) -> None:
    from promote.gate.words import explanation  # noqa: PLC0415 - slow to load

    print(
        json.dumps(verdict.model_dump(mode="json")) if as_json else explanation(verdict),
        end="\n" if as_json else "",
    )


def _print_json(value: object) -> None:
    print(json.dumps(value))


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        _fail(
            f"{text!r} is no instant: write date, time and time zone, such as 2026-05-04T12:00:00Z.",
            USAGE,
        )
    return at


def _settings() -> PromoteSettings:
    from promote.settings import read_settings  # noqa: PLC0415 - slow to load
    from retrain.environment import SettingsRefused  # noqa: PLC0415 - slow to load

    try:
        return read_settings()
    except SettingsRefused as refusal:
        _fail("\n".join(["the settings are wrong:", *refusal.problems]), USAGE)


def _open(settings: PromoteSettings) -> tuple[Parts, Reconciler]:
    from promote.wiring import open_reconciler  # noqa: PLC0415 - slow to load

    return open_reconciler(settings)


def _log_lines() -> None:
    """One line an event, to standard error: time, level, then `name=value` pairs to search for."""
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    logging.getLogger("promote").setLevel(logging.INFO)


def _fail(sentence: str, code: int) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(code)


@contextmanager
def _errors_at_the_edge() -> Iterator[None]:
    """Turn promote's errors into a sentence and an exit code; others are defects and keep their traceback."""
    from promote.errors import InvalidName, PromoteError, Unavailable  # noqa: PLC0415 - slow to load

    try:
        yield
    except PromoteError as error:
        code = (
            TRY_AGAIN
            if isinstance(error, Unavailable)
            else USAGE
            if isinstance(error, InvalidName)
            else FAILED
        )
        _fail(str(error), code)
