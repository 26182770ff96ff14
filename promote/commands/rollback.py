"""`promote rollback`: the pull request that goes back. It needs the forge alone."""

from __future__ import annotations

from promote import wiring
from promote.commands.terminal import errors_as_exit_codes, print_json
from promote.loop.way_back import AskedRollback, roll_back
from promote.settings import read_settings


@errors_as_exit_codes()
def run(model: str, *, reason: str, version: int | None, as_json: bool) -> None:
    """Open the pull request, or name the open one."""
    settings = read_settings()
    forge = wiring.open_forge(settings)
    asked = roll_back(forge, settings.environment, model, reason=reason, version=version)
    if as_json:
        print_json(_fields(asked))
        return
    pull = asked.pull
    was = "" if asked.is_new else " is open already; the reason was added to it as a comment"
    print(f"Pull request {pull.number}, {pull.title}{was}: {pull.url}")
    if asked.replaced:
        numbers = ", ".join(f"pull request {number}" for number in asked.replaced)
        print(f"Closed, since it went elsewhere: {numbers}.")
    print("Merging it rolls it out.")


def _fields(asked: AskedRollback) -> dict[str, object]:
    return {
        "pull_request": asked.pull.number,
        "url": asked.pull.url,
        "branch": asked.pull.branch,
        "title": asked.pull.title,
        "is_new": asked.is_new,
        "replaced": list(asked.replaced),
    }
