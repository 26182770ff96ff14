"""States of the challenger, in the order in which they are tried. Pure.

`unproposed` is the last and always returns a step.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from promote.contract import State
from promote.errors import NoPolicy
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


def nothing_new(observation: Observation) -> Step | None:
    """MLflow has no challenger, or main names the challenger now or named it before."""
    version, since = observation.version, rollout_at(observation)
    if version is None:
        reason = "MLflow names no challenger. The next retraining may register one."
        return Step("no challenger", "wait", None, reason, since)
    if observation.release is not None and observation.release.version == version:
        reason = f"Main already names the challenger, version {version}."
        return Step("no challenger", "wait", None, reason, since)
    if any(one.release and one.release.version == version for one in observation.history):
        reason = f"Version {version} was released before. Promote does not propose it again."
        return Step("had its turn", "wait", None, reason, since)
    return None


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
    if observation.challenger is not None and observation.challenger.judged is not None:
        return None
    since = _registered_at(observation)
    if isinstance(observation.policy, NoPolicy):
        return Step("unjudged", "wait", "person", str(observation.policy), since)
    reason = f"Promote judges version {observation.version} next."
    return Step("unjudged", "judge", "promote", reason, since)


def not_promoted(observation: Observation) -> Step | None:
    """The verdict keeps the champion, or the evidence does not decide."""
    judged = observation.challenger.judged if observation.challenger else None
    if judged is None or judged.verdict.outcome == "promote":
        return None
    state: State = "kept" if judged.verdict.outcome == "keep" else "inconclusive"
    reasons = (one.sentence for one in judged.verdict.reasons)
    return Step(state, "wait", None, next(reasons, "The gate did not support it."), judged.at)


def unproposed(observation: Observation) -> Step:
    """The verdict is `promote`. The image, the branch or the pull request is missing."""
    challenger, version = observation.challenger, f"version {observation.version}"
    since = challenger.judged.at if challenger and challenger.judged else None
    if challenger is None or challenger.image is None:
        reason = f"Promote builds the image of {version} next."
        return Step("unbuilt", "build", "promote", reason, since)
    if challenger.branch is None:
        reason = f"Promote writes the branch of {version} next."
        return Step("unbranched", "branch", "promote", reason, since)
    reason = f"Promote opens the pull request of {version} next."
    return Step("unopened", "open", "promote", reason, since)


STATES = (
    left_behind,
    nothing_new,
    proposed,
    rejected,
    unjudged,
    not_promoted,
    unproposed,
)


def _registered_at(observation: Observation) -> datetime | None:
    return observation.challenger.registered_at if observation.challenger else None
