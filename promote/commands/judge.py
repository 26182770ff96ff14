"""`promote judge`: a verdict that is printed and not kept."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import typer

from promote import wiring
from promote.commands.explain import print_verdict
from promote.commands.terminal import EXIT_FAILED, EXIT_USAGE, errors_as_exit_codes, fail
from promote.contract import Release, Verdict
from promote.evidence.judging import EvidenceJudge
from promote.loop.policy import read_policy
from promote.registry.port import ModelVersion
from promote.release.history import has_served
from promote.release.history_reader import HistoryReader
from promote.settings import read_mlflow_settings, read_settings
from retrain.errors import InvalidSpec, UnknownModel
from retrain.spec.files import load_model

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
    _end(verdict, as_json=as_json, strict=strict)


@errors_as_exit_codes()
def run_local(
    model: str, models: Path, *, against: int | None, as_json: bool, strict: bool
) -> None:
    """Judge the challenger by a model file's policy, without forge, images and cluster.

    Args:
        model: The model's name.
        models: The folder of the model files.
        against: The version to beat; None: the constant.
        as_json: Print JSON.
        strict: End with the verdict's exit code.

    Raises:
        typer.Exit: With the verdict's code when `strict`.
    """
    registry = wiring.open_registry(read_mlflow_settings())
    try:
        policy = load_model(models, model).gate
    except (InvalidSpec, UnknownModel) as error:
        fail(str(error), EXIT_USAGE)
    challenger = registry.challenger(model)
    if challenger is None:
        fail(f"{model} has no challenger. `retrain run {model}` registers one.", EXIT_FAILED)
    champion = None if against is None else _release_of(registry.version(model, against))
    judged = EvidenceJudge(registry)(challenger, champion, policy, had_release=False)
    _end(judged.verdict, as_json=as_json, strict=strict)


def _release_of(version: ModelVersion) -> Release:
    """Return a version as if it were released; the judge reads neither image nor verdict."""
    return Release(
        model=version.model,
        version=version.version,
        image="",
        model_digest=version.model_digest,
        verdict_digest=version.model_digest,
    )


def _end(verdict: Verdict, *, as_json: bool, strict: bool) -> NoReturn:
    print_verdict(verdict, as_json=as_json)
    raise typer.Exit(_STRICT_EXITS[verdict.outcome] if strict else 0)
