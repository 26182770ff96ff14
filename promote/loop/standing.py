"""What people and programs are told about a model: the promotion of one observation. Pure."""

from __future__ import annotations

from datetime import datetime

from promote.contract import OpenPullRequest, Outcome, Promotion, Serving
from promote.loop.lifecycle import Observation, ProposedPull, Step
from promote.release.history import served_at


def promotion_of(observation: Observation, step: Step, *, since: datetime | None) -> Promotion:
    """Return where a model stands.

    Args:
        observation: The observation that the step was decided on.
        step: The state and who is waited for.
        since: When the state began.
    """
    version = _version(observation)
    theirs = [
        one for one in observation.pulls if not one.is_return and one.branch.version == version
    ]
    return Promotion(
        model=observation.model,
        environment=observation.environment,
        version=version,
        state=step.state,
        waits_for=step.waits_for,
        reason=step.reason,
        since=since,
        pull_request=_number(theirs),
        verdict=observation.outcome or _outcome(observation, version),
        serving=_serving(observation),
        open=tuple(_open(one) for one in observation.open),
    )


def _version(observation: Observation) -> int | None:
    """The challenger's; without one the newest that main named: its promotion came to its end."""
    versions = [one.release.version for one in observation.history if one.release]
    return observation.challenger.version if observation.challenger else max(versions, default=None)


def _outcome(observation: Observation, version: int | None) -> Outcome | None:
    """A version that main names or named was promoted."""
    was_named = any(one.release and one.release.version == version for one in observation.history)
    return "promote" if was_named else None


def _number(pulls: list[ProposedPull]) -> int | None:
    """Return the open pull request, else the newest."""
    best = next((one for one in pulls if one.is_open), pulls[0] if pulls else None)
    return best.pull.number if best else None


def _serving(observation: Observation) -> Serving | None:
    found = served_at(observation.history, observation.at)
    if found is None:
        return None
    pull = next(
        (one.pull for one in observation.pulls if one.pull.merge_commit == found.commit), None
    )
    return Serving(
        version=found.release.version,
        image=found.release.image,
        since=found.healthy_at,
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
