"""`promote served-at`: which version served at an instant. It needs the forge alone."""

from __future__ import annotations

from promote import wiring
from promote.commands.terminal import aware_instant, errors_as_exit_codes, print_result
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
    facts = _facts(served, forge, Slot(model, settings.environment)) if served else _NOTHING
    what = "version {version} ({image}, pull request {pull_request})".format_map(facts)
    answer = f"last seen healthy: {what}" if served else "nothing"
    print_result(
        facts | {"at": at.isoformat(), "model": model, "why": why},
        f"{model} at {at.isoformat()}: {answer}: {why}.",
        as_json=as_json,
    )


def _facts(served: ServedAt, forge: Forge, slot: Slot) -> dict[str, object]:
    image, pulls = served.release.image, forge.pull_requests(branch_prefix(slot))
    merged = (pull.number for pull in pulls if pull.merge_commit == served.commit)
    return {
        "version": served.release.version,
        "image": image,
        "image_digest": image.rpartition("@")[2],
        "pull_request": next(merged, None),
        "commit": served.commit,
        "healthy_at": served.healthy_at.isoformat(),
    }
