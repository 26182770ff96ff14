"""States of the release that main names, in the order in which they are tried. Pure."""

from __future__ import annotations

from datetime import datetime

from promote.contract import State
from promote.loop.observation import Observation
from promote.loop.states_of_ways_back import rollout_at
from promote.loop.step import Act, Step, numbers, step_about
from promote.release.history import has_served, last_served

_REMOVED = (
    "release.yaml was removed from main. Restore it (`promote rollback`), "
    "or delete the model's folder and its Flux object too."
)


def alias_behind(observation: Observation) -> Step | None:
    """Alias `champion` names another version than the last that was healthy."""
    served = last_served(observation.history)
    if served is None or served.release is None or served.release.version == observation.champion:
        return None
    reason = f"Promote sets alias champion to version {served.release.version}, which served last."
    return Step("alias behind", "set champion", "promote", reason, rollout_at(observation))


def removed(observation: Observation) -> Step | None:
    """A commit removed release.yaml although a release served."""
    if observation.release_commit is not None or not has_served(observation.history):
        return None
    return Step("unrecognised", "wait", "person", _REMOVED, _changed_at(observation))


def unrecognised(observation: Observation) -> Step | None:
    """Main's release.yaml is no release, or a release that promote did not propose."""
    commit = observation.release_commit
    if commit is None or (commit.release is not None and observation.is_recognised):
        return None
    reason = (
        f"Promote did not propose release.yaml at commit {commit.commit[:12]}, and it was not "
        "released before. Revert that commit."
    )
    return Step("unrecognised", "wait", "person", reason, _changed_at(observation))


def unrecorded(observation: Observation) -> Step | None:
    """The release is healthy, and no status says so yet."""
    commit = observation.release_commit
    if commit is None or commit.served or not observation.is_healthy:
        return None
    return _status_step(observation, "unrecorded", "record success", "The release is healthy.")


def obsolete(observation: Observation) -> Step | None:
    """A revert is no longer needed, or a way back goes to the release that main names already."""
    release, base = observation.release, observation.base_commit
    returns = [one for one in observation.open if one.is_return]
    pulls = [
        one
        for one in returns
        if (release is not None and one.branch.version == release.version)
        or (one.branch.purpose == "revert" and observation.is_healthy)
        or (one.branch.purpose == "revert" and one.branch.base_commit != base)
    ]
    return step_about(pulls, "obsolete", "close", "{} is no longer needed. Promote closes it.")


def rolling_out(observation: Observation) -> Step | None:
    """No status says yet how the rollout ended: it failed, is new, or goes on."""
    if not observation.is_rolling_out:
        return None
    if observation.has_failed:
        news = "The rollout failed."
        return _status_step(observation, "failed unrecorded", "record failure", news)
    until, rollout = observation.deadline_at, observation.rollout
    if until is None:
        return _status_step(observation, "unannounced", "announce", "The release is new on main.")
    reason = (
        f"The rollout of {_version(observation)} may take until {until:%Y-%m-%dT%H:%M:%SZ}. "
        f"The cluster says: {rollout.reason if rollout else ''}"
    )
    return Step("rolling out", "wait", "rollout", reason, _changed_at(observation))


def failed_held(observation: Observation) -> Step | None:
    """The rollout failed, and its way back waits for a person."""
    if not observation.needs_way_back:
        return None
    reason = (
        f"The rollout of {_version(observation)} failed. "
        f"Merge or reopen {numbers(observation.ways_back)}, or commit another release."
    )
    return Step("failed, held", "wait", "person", reason, rollout_at(observation))


STATES = (
    alias_behind,
    removed,
    unrecognised,
    unrecorded,
    obsolete,
    rolling_out,
    failed_held,
)


def first_failed(observation: Observation) -> Step | None:
    """The first release failed: there is no release to go back to.

    Tried last, when no other step is left: a new proposal may replace the failed release.
    """
    commit = observation.release_commit
    if commit is None or commit.rollout is None or not commit.failed:
        return None
    reason = (
        f"The rollout of {_version(observation)} failed, and no earlier release served: there is "
        f"nothing to go back to. The cluster said: {commit.rollout.description}. Fix the cause, or "
        "revert the commit; promote then proposes the next challenger as a first release."
    )
    return Step("failed, held", "wait", "person", reason, rollout_at(observation))


def _status_step(observation: Observation, state: State, act: Act, news: str) -> Step:
    reason = f"{news} Promote sets the status that says so."
    return Step(state, act, "promote", reason, _changed_at(observation))


def _version(observation: Observation) -> str:
    release = observation.release
    return f"version {release.version}" if release else "the file on main"


def _changed_at(observation: Observation) -> datetime | None:
    """Return when main's release.yaml changed last."""
    return observation.history[0].at if observation.history else None
