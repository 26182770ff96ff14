"""`promote served-at`: which version served at an instant. It needs the forge alone."""

from __future__ import annotations

from promote import wiring
from promote.commands.terminal import aware_instant, errors_as_exit_codes, print_json
from promote.contract import Slot
from promote.forge.port import Forge
from promote.release.history import ServedAt, served_at
from promote.release.history_reader import HistoryReader
from promote.release.slot import branch_prefix
from promote.settings import read_settings

_NOTHING: dict[str, object] = dict.fromkeys(
    ("version", "image", "image_digest", "pull_request", "commit", "healthy_at")
)


@errors_as_exit_codes()
def run(model: str, instant: str, *, as_json: bool) -> None:
    """Print the version and how it is known."""
    at, settings = aware_instant(instant), read_settings()
    forge = wiring.open_forge(settings)
    history = HistoryReader(forge, settings.environment).read(model, forge.head(), is_complete=True)
    served = served_at(history, at)
    why = served.why if served else "no release was healthy by then, or main named none"
    facts = _NOTHING
    if served:
        facts = _facts(served, _pull_request(forge, model, settings.environment, served.commit))
    if as_json:
        print_json(facts | {"at": at.isoformat(), "model": model, "why": why})
        return
    what = "version {version} ({image}, pull request {pull_request})".format_map(facts)
    answer = f"last seen healthy: {what}" if served else "nothing"
    print(f"{model} at {at.isoformat()}: {answer}: {why}.")


def _facts(served: ServedAt, pull_request: int | None) -> dict[str, object]:
    image = served.release.image
    return {
        "version": served.release.version,
        "image": image,
        "image_digest": image.rpartition("@")[2],
        "pull_request": pull_request,
        "commit": served.commit,
        "healthy_at": served.healthy_at.isoformat(),
    }


def _pull_request(forge: Forge, model: str, environment: str, commit: str) -> int | None:
    pulls = forge.pull_requests(branch_prefix(Slot(model, environment)))
    return next((pull.number for pull in pulls if pull.merge_commit == commit), None)
