"""`promote rollback`: the pull request that goes back. It needs the forge alone."""

from __future__ import annotations

from promote import wiring
from promote.commands.terminal import errors_as_exit_codes, print_result
from promote.loop.way_back import roll_back
from promote.settings import read_settings


@errors_as_exit_codes()
def run(model: str, *, reason: str, version: int | None, as_json: bool) -> None:
    """Open the pull request, or name the open one."""
    settings = read_settings()
    forge = wiring.open_forge(settings)
    asked = roll_back(forge, settings.environment, model, reason=reason, version=version)
    pull = asked.pull
    was = "" if asked.is_new else " is open already; the reason was added to it as a comment"
    lines = [f"Pull request {pull.number}, {pull.title}{was}: {pull.url}"]
    if asked.replaced:
        numbers = ", ".join(f"pull request {number}" for number in asked.replaced)
        lines.append(f"Closed, since it went elsewhere: {numbers}.")
    lines.append("Merging it rolls it out.")
    facts = {
        "pull_request": pull.number,
        "url": pull.url,
        "branch": pull.branch,
        "title": pull.title,
        "is_new": asked.is_new,
        "replaced": list(asked.replaced),
    }
    print_result(facts, "\n".join(lines), as_json=as_json)
