"""States of open pull requests, in the order in which they are tried. Pure."""

from __future__ import annotations

from promote.errors import NoPolicy
from promote.loop.observation import SUPERSEDED, Observation, ProposedPull
from promote.loop.states_of_ways_back import UNGATED
from promote.loop.step import Step, step_about

_EDITED = (
    "{} no longer changes exactly what promote proposed. "
    "Restore the branch, or close the pull request."
)


def closing(observation: Observation) -> Step | None:
    """A pull request has the label of superseded ones, and is still open."""
    pulls = [one for one in observation.open if SUPERSEDED in one.pull.labels]
    return step_about(pulls, "closing", "close", "{} was superseded. Promote closes it.")


def edited(observation: Observation) -> Step | None:
    """A pull request was edited. Its status says so first; then a person is needed."""
    pulls = [one for one in observation.open if one.as_proposed is False]
    unflagged = [one for one in pulls if one.gate != "failure"]
    flag = step_about(unflagged, "edited", "flag", _EDITED)
    return flag or step_about(pulls, "edited", "wait", _EDITED, "person")


def stale(observation: Observation) -> Step | None:
    """A proposal is based on another release than main's, or was judged by another policy."""
    base = observation.base_commit
    pulls = [
        one
        for one in proposals(observation)
        if one.branch.base_commit != base or not one.is_current
    ]
    reason = (
        "{} was judged against another release or by another policy than main's. "
        "Promote closes it and judges again."
    )
    return step_about(pulls, "stale", "close", reason)


def superseded(observation: Observation) -> Step | None:
    """Several proposals are open. The challenger's stays; without it, the newest."""

    def rank(one: ProposedPull) -> tuple[bool, int, int]:
        version = one.branch.version
        return version == observation.version, version, one.pull.number

    pulls = sorted(proposals(observation), key=rank)[:-1]
    return step_about(pulls, "superseded", "label", "{} has a newer proposal beside it.")


def ungated(observation: Observation) -> Step | None:
    """A pull request is as proposed, and lacks the status that says so."""
    pulls = [one for one in observation.open if one.gate != "success"]
    if pulls and isinstance(observation.policy, NoPolicy):
        return Step("ungated", "wait", "person", str(observation.policy))
    return step_about(pulls, "ungated", "gate", UNGATED)


STATES = (closing, edited, stale, superseded, ungated)


def proposals(observation: Observation) -> list[ProposedPull]:
    """Return the open pull requests that promote a challenger."""
    return [one for one in observation.open if not one.is_return]
