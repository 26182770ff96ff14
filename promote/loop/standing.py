"""Where a model's promotion stands, for people and programs. Pure."""

from __future__ import annotations

from datetime import datetime

from promote.contract import OpenPullRequest, Outcome, Promotion, Serving
from promote.loop.observation import Blind, Look, ProposedPull
from promote.loop.step import Step
from promote.release.history import History, served_at

Pulls = tuple[ProposedPull, ...]


def promotion_of(look: Look, step: Step, *, since: datetime | None) -> Promotion:
    """Return where a model stands.

    Args:
        look: What the step was decided on.
        step: The state, and who is waited for.
        since: When the state began.
    """
    view = look.forge if isinstance(look, Blind) else look
    history, pulls = (view.history, view.pulls) if view else ((), ())
    challenger = look.challenger
    version = challenger.version if challenger else _newest_version(history)
    return Promotion(
        model=look.model,
        environment=look.environment,
        version=version,
        state=step.state,
        waits_for=step.waits_for,
        reason=step.reason,
        since=since,
        pull_request=_number(pulls, version),
        verdict=(challenger and challenger.outcome) or _outcome(history, version),
        serving=_serving(history, pulls, look.at),
        open=tuple(_open(one) for one in pulls if one.is_open),
    )


def _newest_version(history: History) -> int | None:
    """Return the newest version that main ever named."""
    return max((one.release.version for one in history if one.release), default=None)


def _outcome(history: History, version: int | None) -> Outcome | None:
    """Return `promote` for a version that main names or named."""
    was_released = any(one.release and one.release.version == version for one in history)
    return "promote" if was_released else None


def _number(pulls: Pulls, version: int | None) -> int | None:
    """Return the version's open pull request, else its newest."""
    theirs = [one for one in pulls if not one.is_return and one.branch.version == version]
    best = next((one for one in theirs if one.is_open), theirs[0] if theirs else None)
    return best.pull.number if best else None


def _serving(history: History, pulls: Pulls, at: datetime) -> Serving | None:
    served = served_at(history, at)
    if served is None:
        return None
    pull = next((one.pull for one in pulls if one.pull.merge_commit == served.commit), None)
    return Serving(
        version=served.release.version,
        image=served.release.image,
        since=served.healthy_at,
        pull_request=pull.number if pull else None,
        url=pull.url if pull else None,
    )


def _open(one: ProposedPull) -> OpenPullRequest:
    return OpenPullRequest(
        number=one.pull.number,
        purpose=one.branch.purpose,
        version=one.branch.version,
        url=one.pull.url,
        since=one.pull.created_at,
    )
