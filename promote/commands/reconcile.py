"""`promote reconcile`: passes over models by hand."""

from __future__ import annotations

import logging
import time

import typer

from promote import wiring
from promote.commands.promotion_text import line
from promote.commands.terminal import (
    EXIT_FAILED,
    EXIT_TRY_AGAIN,
    errors_as_exit_codes,
    log_to_stderr,
    print_result,
)
from promote.contract import Promotion
from promote.errors import Unavailable
from promote.evidence.judging import EvidenceJudge
from promote.loop.reconciler import Reconciler
from promote.settings import read_settings


@errors_as_exit_codes()
def run(models: list[str] | None, *, once: bool, dry_run: bool, as_json: bool) -> None:
    """Make one pass, or passes until the process is ended.

    Raises:
        typer.Exit: After one pass, when a model waits for a person or for a part that is away.
    """
    settings = read_settings()
    log_to_stderr()
    parts = wiring.open_parts(settings)
    reconciler = Reconciler(parts, EvidenceJudge(parts.registry))
    while not (once or dry_run):
        try:
            _pass(reconciler, models, dry_run=False, as_json=as_json)
        except Unavailable as error:
            logging.getLogger("promote").warning("state='blind' error=%s", error)
        time.sleep(settings.interval_seconds)  # nothing reports a merge: look again
    promotions = _pass(reconciler, models, dry_run=dry_run, as_json=as_json)
    waits = {promotion.waits_for for promotion in promotions}
    if "person" in waits:
        raise typer.Exit(EXIT_FAILED)
    if "outage" in waits:
        raise typer.Exit(EXIT_TRY_AGAIN)


def _pass(
    reconciler: Reconciler,
    models: list[str] | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> list[Promotion]:
    show = _preview if dry_run else _reconcile
    names = reconciler.observer.start_pass(models or ())
    promotions = [show(reconciler, model, as_json=as_json) for model in models or names]
    reconciler.observer.end_pass()
    return promotions


def _preview(reconciler: Reconciler, model: str, *, as_json: bool) -> Promotion:
    promotion, step = reconciler.preview(model)
    facts = {"act": step.act} | promotion.model_dump(mode="json")
    print_result(facts, f"{line(promotion)} (next act: {step.act})", as_json=as_json)
    return promotion


def _reconcile(reconciler: Reconciler, model: str, *, as_json: bool) -> Promotion:
    promotion = reconciler.reconcile(model)
    print(promotion.model_dump_json() if as_json else line(promotion), flush=True)
    return promotion
