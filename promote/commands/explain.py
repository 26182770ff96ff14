"""`promote explain`: what the gate found about a version."""

from __future__ import annotations

from promote import wiring
from promote.commands.terminal import EXIT_FAILED, errors_as_exit_codes, fail, print_result
from promote.contract import Verdict
from promote.evidence.verdict_tag import KeptVerdicts, verdict_tags
from promote.gate.words import explanation
from promote.settings import read_settings


@errors_as_exit_codes()
def run(model: str, version: int, *, as_json: bool) -> None:
    """Print a version's newest verdict."""
    parts = wiring.open_parts(read_settings())
    registered = parts.registry.version(model, version)
    tags = verdict_tags(registered).values()
    if not tags:
        fail(
            f"version {version} of {model} was not judged yet. "
            f"`promote judge {model}` judges the challenger without acting.",
            EXIT_FAILED,
        )
    newest = max(tags, key=lambda tag: tag.at)
    print_verdict(KeptVerdicts(parts.registry).read(registered, newest), as_json=as_json)


def print_verdict(verdict: Verdict, *, as_json: bool) -> None:
    """Print a verdict in words or as JSON."""
    text = explanation(verdict).removesuffix("\n")
    print_result(verdict.model_dump(mode="json"), text, as_json=as_json)
