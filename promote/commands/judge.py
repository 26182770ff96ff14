"""`promote judge`: a verdict that is printed and not kept."""

from __future__ import annotations

import typer

from promote import wiring
from promote.commands.explain import print_verdict
from promote.commands.terminal import EXIT_FAILED, errors_as_exit_codes, fail
from promote.evidence.judging import EvidenceJudge
from promote.loop.policy import read_policy
from promote.release.history import has_served
from promote.release.history_reader import HistoryReader
from promote.settings import read_settings

_STRICT_EXITS = {"promote": 0, "keep": 3, "inconclusive": 4}


@errors_as_exit_codes()
def run(model: str, *, as_json: bool, strict: bool) -> None:
    """Judge the challenger by main's policy and print the verdict.

    Raises:
        typer.Exit: With the verdict's code when `strict`.
    """
    parts = wiring.open_parts(read_settings())
    challenger = parts.registry.challenger(model)
    if challenger is None:
        fail(f"{model} has no challenger. `retrain run {model}` registers one.", EXIT_FAILED)
    main = parts.forge.head()
    history = HistoryReader(parts.forge, parts.environment).read(model, main)
    champion = history[0].release if history else None
    policy = read_policy(parts.forge, model, main).gate
    judge = EvidenceJudge(parts.registry)
    verdict = judge(challenger, champion, policy, had_release=has_served(history)).verdict
    print_verdict(verdict, as_json=as_json)
    raise typer.Exit(_STRICT_EXITS[verdict.outcome] if strict else 0)
