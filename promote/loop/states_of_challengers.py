"""States of the challenger, in the order in which they are tried. Pure.

`unopened` holds always, so one state of this file is found for every observation.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from promote.contract import State
from promote.loop.observation import SUPERSEDED, Observation
from promote.loop.states_of_proposals import proposals
from promote.loop.states_of_ways_back import rollout_at
from promote.loop.step import Step, step_about
from promote.release.history import left_behind as versions_left_behind


def left_behind(observation: Observation) -> Step | None:
    """A rollback or a revert left the challenger's version."""
    if observation.version not in versions_left_behind(observation.history):
        return None
    reason = (
        f"A rollback or a revert left version {observation.version}. "
        "Promote removes alias challenger from the version."
    )
    return Step("left behind", "drop challenger", "promote", reason, _registered_at(observation))


def no_challenger(observation: Observation) -> Step | None:
    """MLflow has no challenger, or main names it already."""
    release = observation.release
    if observation.version is None:
        reason = "MLflow names no challenger. The next retraining may register one."
    elif release is not None and release.version == observation.version:
        reason = f"Main already names the challenger, version {release.version}."
    else:
        return None
    return Step("no challenger", "wait", None, reason, rollout_at(observation))


def had_its_turn(observation: Observation) -> Step | None:
    """Main named the challenger before."""
    versions = {one.release.version for one in observation.history if one.release}
    if observation.version not in versions:
        return None
    reason = (
        f"Version {observation.version} was released before. Promote does not propose it again."
    )
    return Step("had its turn", "wait", None, reason, rollout_at(observation))


def proposed(observation: Observation) -> Step | None:
    """The challenger's pull request is open and needs nothing from promote."""
    pulls = [one for one in proposals(observation) if one.branch.version == observation.version]
    return step_about(pulls, "proposed", "wait", "{} waits for a review.", "reviewer")


def rejected(observation: Observation) -> Step | None:
    """A person closed the challenger's pull request: it lacks the label that promote sets first."""
    pulls = [
        one
        for one in observation.pulls
        if one.pull.state == "closed"
        and not one.is_return
        and one.branch.version == observation.version
        and SUPERSEDED not in one.pull.labels
    ]
    reason = "A person closed {} without merging it."
    step = step_about(pulls, "rejected", "wait", reason, None)
    closed = [one.pull.closed_at for one in pulls if one.pull.closed_at]
    return replace(step, since=max(closed, default=None)) if step else None


def unjudged(observation: Observation) -> Step | None:
    """No verdict of the challenger against main's release by main's policy exists."""
    if observation.verdict is not None:
        return None
    since = _registered_at(observation)
    if observation.policy_problem:
        return Step("unjudged", "wait", "person", observation.policy_problem, since)
    reason = f"Promote judges version {observation.version} next."
    return Step("unjudged", "judge", "promote", reason, since)


def not_promoted(observation: Observation) -> Step | None:
    """The verdict keeps the champion, or the evidence does not decide."""
    verdict = observation.verdict
    if verdict is None or verdict.outcome == "promote":
        return None
    state: State = "kept" if verdict.outcome == "keep" else "inconclusive"
    reason = next((one.sentence for one in verdict.reasons), "The gate did not support it.")
    return Step(state, "wait", None, reason, observation.judged_at)


def unbuilt(observation: Observation) -> Step | None:
    """The image registry does not have the challenger's image."""
    if observation.image is not None:
        return None
    reason = f"Promote builds the image of version {observation.version} next."
    return Step("unbuilt", "build", "promote", reason, observation.judged_at)


def unbranched(observation: Observation) -> Step | None:
    """The forge does not have the challenger's branch."""
    if observation.branch is not None:
        return None
    reason = f"Promote writes the branch of version {observation.version} next."
    return Step("unbranched", "branch", "promote", reason, observation.judged_at)


def unopened(observation: Observation) -> Step:
    """Only the pull request is missing."""
    reason = f"Promote opens the pull request of version {observation.version} next."
    return Step("unopened", "open", "promote", reason, observation.judged_at)


STATES = (
    left_behind,
    no_challenger,
    had_its_turn,
    proposed,
    rejected,
    unjudged,
    not_promoted,
    unbuilt,
    unbranched,
    unopened,
)


def _registered_at(observation: Observation) -> datetime | None:
    return observation.challenger.registered_at if observation.challenger else None
