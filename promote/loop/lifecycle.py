"""One model's promotion: what was one, the state it is in, and the one next act. Pure.

`TABLE` holds the states in order; the first one that fits counts. The first states need the forge
only, so that ways back work while MLflow, the image registry and the cluster API are away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from promote.cluster.port import RolloutStatus
from promote.contract import Outcome, Release, State, Verdict, WaitsFor
from promote.forge.port import PullRequest
from promote.release.history import (
    History,
    ReleaseCommit,
    has_served,
    last_served,
    left_behind,
    return_target,
)
from promote.release.manifest import BranchName

SUPERSEDED = "ratchet/superseded"

Act = Literal[
    "wait",
    "set champion",
    "announce",
    "record success",
    "record failure",
    "open revert",
    "close",
    "flag",
    "label",
    "gate",
    "drop challenger",
    "judge",
    "build",
    "branch",
    "open",
]
"""`wait` does nothing; every other act has one commit point, which the next observation sees."""


@dataclass(frozen=True)
class Failure:
    """Why a part could not be one."""

    is_outage: bool
    """True: the same question may be answered later. False: a person has to act first."""
    sentence: str


@dataclass(frozen=True)
class Challenger:
    """The version that alias `challenger` names."""

    version: int
    registered_at: datetime | None = None


@dataclass(frozen=True)
class ProposedPull:
    """A pull request of ours, and what its branch holds. Only open ones are examined."""

    pull: PullRequest
    branch: BranchName
    as_proposed: bool = True
    """Every file that merging it changes has exactly the bytes that promote proposes."""
    gate: str | None = None
    """State of the head's status `ratchet/gate`; None when there is none."""
    is_current: bool = True
    """Its verdict is the one on main's release by main's policy. Always true for a way back."""

    @property
    def is_open(self) -> bool:
        """True while it is neither merged nor closed."""
        return self.pull.state == "open"

    @property
    def is_return(self) -> bool:
        """True for a rollback and a revert."""
        return self.branch.purpose != "promotion"


@dataclass(frozen=True)
class Observation:
    """Everything that one look saw.

    With `forge_failure` nothing else means anything. With `failures` the fields that do not come
    from the forge mean nothing: history, main and pulls do.
    """

    model: str
    environment: str
    at: datetime
    forge_failure: Failure | None = None
    failures: tuple[Failure, ...] = ()
    """Of MLflow, the image registry and the cluster."""
    main: str = ""
    history: History = ()
    is_recognised: bool = True
    """What main names was proposed or released before."""
    rollout: RolloutStatus | None = None
    """Of what main names; None when it names nothing."""
    deadline: timedelta = timedelta(minutes=5)
    champion: int | None = None
    challenger: Challenger | None = None
    policy_problem: str | None = None
    """Why main's policy for the model cannot be read; then there is nothing to judge by."""
    policy: str | None = None
    """Digest of main's policy, as branches write it."""
    verdict: Verdict | None = None
    judged_at: datetime | None = None
    image: str | None = None
    """The challenger's, as a release names it; None when it is not built."""
    branch: str | None = None
    """The commit of the challenger's branch over what main names."""
    pulls: tuple[ProposedPull, ...] = ()
    """Newest first."""

    @property
    def is_blind(self) -> bool:
        """True when something could not be one."""
        return self.forge_failure is not None or bool(self.failures)

    @property
    def release_commit(self) -> ReleaseCommit | None:
        """M: the newest commit that names a release; None when main names none."""
        return self.history[0] if self.history and self.history[0].content is not None else None

    @property
    def release(self) -> Release | None:
        """The release that main names; None when main names none, or a file that is no release."""
        return self.release_commit.release if self.release_commit else None

    @property
    def base_commit(self) -> str | None:
        """The commit that a proposal of now is based on, as branches write it."""
        return self.release_commit.commit[:12] if self.release_commit else None

    @property
    def deadline_at(self) -> datetime | None:
        """Until when what main names may become healthy; None before the rollout is announced.

        Counted from promote's first look at the commit: a commit may be made long before it is
        pushed.
        """
        if self.release_commit is None or self.release_commit.rollout is None:
            return None
        return max(self.release_commit.at, self.release_commit.rollout.at) + self.deadline

    @property
    def is_healthy(self) -> bool:
        """What main names runs, all of it."""
        return (
            self.release_commit is not None
            and self.rollout is not None
            and self.rollout.state == "healthy"
        )

    @property
    def has_failed(self) -> bool:
        """What main names did not become healthy: the cluster says so, or time is over."""
        if self.release_commit is None or self.rollout is None or self.is_healthy:
            return False
        is_late = self.deadline_at is not None and self.at >= self.deadline_at
        return self.rollout.state == "failed" or is_late

    @property
    def open(self) -> tuple[ProposedPull, ...]:
        """Open pull requests of ours."""
        return tuple(one for one in self.pulls if one.is_open)

    @property
    def outcome(self) -> Outcome | None:
        """The verdict's outcome; None without one."""
        return self.verdict.outcome if self.verdict else None


Pulls = Sequence[ProposedPull]
Says = Callable[[Observation], str]
SinceWhen = Callable[[Observation, Pulls], datetime | None]


@dataclass(frozen=True)
class Row:
    """A state: when it holds, the act, who is waited for, why, and since when."""

    state: State
    when: Callable[[Observation], object]
    """Truthy when the state holds; a sequence of pull requests says which ones."""
    act: Act
    waits_for: WaitsFor | None
    reason: Says
    since: SinceWhen


@dataclass(frozen=True)
class Step:
    """What to do next."""

    state: State
    act: Act
    waits_for: WaitsFor | None
    """None when nothing is left to do."""
    reason: str
    since: datetime | None = None
    pulls: tuple[ProposedPull, ...] = ()


def decide(observation: Observation) -> Step:
    """Return the first row that matches; the last row matches always.

    Nothing is reported as done while a release has failed (a person is waited for) or a pull
    request of ours is open (a reviewer is).
    """
    row, found = next((row, found) for row in TABLE if (found := row.when(observation)))
    pulls = tuple(found) if isinstance(found, tuple | list) else ()
    waits_for = _who(observation) if row.state == "blind" else row.waits_for
    step = Step(
        row.state, row.act, waits_for, row.reason(observation), row.since(observation, pulls), pulls
    )
    if (
        step.waits_for is None
        and observation.release_commit is not None
        and observation.release_commit.failed
    ):
        held = replace(step, state="failed, held", waits_for="person", pulls=())
        return replace(held, reason=_first_failed(observation), since=_rollout_at(observation, ()))
    if step.waits_for is None and observation.open:
        numbers = ", ".join(f"#{one.pull.number}" for one in observation.open)
        return replace(
            step, waits_for="reviewer", reason=f"{step.reason} {numbers} waits for a review."
        )
    return step


def _who(observation: Observation) -> WaitsFor:
    """A refusal or a fault beside an outage still needs a person."""
    failures = [observation.forge_failure] if observation.forge_failure else observation.failures
    return "outage" if all(failure.is_outage for failure in failures) else "person"


def _blind(observation: Observation) -> str:
    failures = [observation.forge_failure] if observation.forge_failure else observation.failures
    return " ".join(failure.sentence for failure in failures)


def _champion_behind(observation: Observation) -> bool:
    served = last_served(observation.history)
    return (
        served is not None
        and served.release is not None
        and served.release.version != observation.champion
    )


def _unrecognised(observation: Observation) -> bool:
    if not observation.history:
        return False
    if observation.release_commit is None:
        return has_served(observation.history)
    return observation.release_commit.release is None or not observation.is_recognised


def _unrecorded(observation: Observation) -> bool:
    return (
        observation.is_healthy
        and observation.release_commit is not None
        and not observation.release_commit.served
    )


def _rolling(observation: Observation) -> bool:
    """Main names a release whose rollout has no end yet."""
    commit = observation.release_commit
    return commit is not None and not (commit.served or commit.failed)


def _failed(observation: Observation) -> bool:
    """True when a failure is recorded and there is something to go back to."""
    commit = observation.release_commit
    return commit is not None and commit.failed and return_target(observation.history) is not None


def _revert_needed(observation: Observation) -> bool:
    """True also while the cluster does not answer: the recorded failure and the target are git's."""
    return _failed(observation) and not observation.is_healthy and not _returns(observation)


def _returns(observation: Observation) -> Pulls:
    return [
        one
        for one in observation.pulls
        if one.is_return and one.branch.base_commit == observation.base_commit
    ]


def _proposals(observation: Observation) -> Pulls:
    return [one for one in observation.open if not one.is_return]


def _obsolete(observation: Observation) -> Pulls:
    """Reverts that are no longer needed, and ways back to what main names already."""
    release = observation.release
    return [
        one
        for one in observation.open
        if (
            one.branch.purpose == "revert"
            and (observation.is_healthy or one.branch.base_commit != observation.base_commit)
        )
        or (one.is_return and release is not None and one.branch.version == release.version)
    ]


def _closing(observation: Observation) -> Pulls:
    return [one for one in observation.open if SUPERSEDED in one.pull.labels]


def _edited(observation: Observation) -> Pulls:
    return [one for one in observation.open if not one.as_proposed]


def _unflagged(observation: Observation) -> Pulls:
    return [one for one in _edited(observation) if one.gate != "failure"]


def _stale(observation: Observation) -> Pulls:
    """Proposals over another release than main names, or judged by another policy than main's."""
    return [
        one
        for one in _proposals(observation)
        if one.branch.base_commit != observation.base_commit or not one.is_current
    ]


def _superseded(observation: Observation) -> Pulls:
    """All proposals over what main names but one: the challenger's, or else the newest."""

    def rank(one: ProposedPull) -> tuple[bool, int, int]:
        return _is_challenger(observation, one), one.branch.version, one.pull.number

    return sorted(_proposals(observation), key=rank)[:-1]


def _is_challenger(observation: Observation, one: ProposedPull) -> bool:
    return (
        observation.challenger is not None and one.branch.version == observation.challenger.version
    )


def _ungated_returns(observation: Observation) -> Pulls:
    """Ways back, which a person must be able to merge whatever else is wrong."""
    return [one for one in _ungated(observation) if one.is_return and one.as_proposed]


def _ungated(observation: Observation) -> Pulls:
    return [one for one in observation.open if one.gate != "success"]


def _left_behind(observation: Observation) -> bool:
    challenger = observation.challenger
    return challenger is not None and challenger.version in left_behind(observation.history)


def _no_challenger(observation: Observation) -> bool:
    release = observation.release
    return observation.challenger is None or (
        release is not None and release.version == observation.challenger.version
    )


def _had_its_turn(observation: Observation) -> bool:
    turns = {one.release.version for one in observation.history if one.release}
    return observation.challenger is not None and observation.challenger.version in turns


def _proposed(observation: Observation) -> Pulls:
    return [one for one in _proposals(observation) if _is_challenger(observation, one)]


def _rejected(observation: Observation) -> Pulls:
    """A closing that we did not label is a person's word about a version."""
    closed = [one for one in observation.pulls if one.pull.state == "closed" and not one.is_return]
    theirs = [one for one in closed if _is_challenger(observation, one)]
    return [one for one in theirs if SUPERSEDED not in one.pull.labels]


def _says(text: str) -> Says:
    return lambda _: text


def _numbered(text: str, pulls: Callable[[Observation], Pulls]) -> Says:
    return lambda observation: text.format(
        ", ".join(f"#{one.pull.number}" for one in pulls(observation))
    )


def _version(observation: Observation) -> str:
    release = observation.release
    return f"version {release.version}" if release else "what main names"


def _challenger_is(text: str) -> Says:
    return lambda observation: text.format(
        f"Version {observation.challenger.version if observation.challenger else '?'}"
    )


def _rolling_says(observation: Observation) -> str:
    reason = observation.rollout.reason if observation.rollout else ""
    until = (
        f"{observation.deadline_at:%Y-%m-%dT%H:%M:%SZ}"
        if observation.deadline_at
        else "its deadline"
    )
    return (
        f"The rollout of {_version(observation)} may take until {until}. The cluster says: {reason}"
    )


def _unrecognised_says(observation: Observation) -> str:
    if observation.release_commit is None:
        return "release.yaml was removed from main. Restore it (`promote rollback`), or delete the model's folder and its Flux object too."
    return f"release.yaml at commit {observation.release_commit.commit[:12]} is neither a proposal of promote nor was it released before. Revert that commit."


def _held(observation: Observation) -> str:
    numbers = ", ".join(f"#{one.pull.number}" for one in _returns(observation))
    return f"The rollout of {_version(observation)} failed. Merge or reopen {numbers}, or commit another release."


def _first_failed(observation: Observation) -> str:
    said = (
        observation.release_commit.rollout.description
        if observation.release_commit and observation.release_commit.rollout
        else ""
    )
    return (
        f"The rollout of {_version(observation)} failed, and no earlier release served: there is nothing to "
        f"go back to. It said: {said}. Mend the cause, or revert the commit; the next challenger is "
        "then proposed as a first release."
    )


def _no_challenger_says(observation: Observation) -> str:
    if observation.challenger is None:
        return "MLflow names no challenger. The next retraining may register one."
    return f"The challenger, version {observation.challenger.version}, is what main names."


def _verdict_says(observation: Observation) -> str:
    if observation.verdict is None or not observation.verdict.reasons:
        return "The gate did not support this version."
    return observation.verdict.reasons[0].sentence


def _policy_says(observation: Observation) -> str:
    return observation.policy_problem or ""


def _nothing(_: Observation, __: Pulls) -> None:
    return None


def _pulls_at(_: Observation, pulls: Pulls) -> datetime | None:
    return min((one.pull.created_at for one in pulls), default=None)


def _closed_at(_: Observation, pulls: Pulls) -> datetime | None:
    return max((one.pull.closed_at for one in pulls if one.pull.closed_at), default=None)


def _named_at(observation: Observation, _: Pulls) -> datetime | None:
    return observation.history[0].at if observation.history else None


def _rollout_at(observation: Observation, _: Pulls) -> datetime | None:
    commit = observation.release_commit
    return commit.rollout.at if commit and commit.rollout else None


def _registered_at(observation: Observation, _: Pulls) -> datetime | None:
    return observation.challenger.registered_at if observation.challenger else None


def _judged_at(observation: Observation, _: Pulls) -> datetime | None:
    return observation.judged_at


_EDITED = "{} no longer changes exactly what promote proposed. Restore the branch, or close the pull request."
_UNGATED = "{} waits for the status ratchet/gate, which promote sets next."

TABLE: tuple[Row, ...] = (
    Row("blind", lambda observation: observation.forge_failure, "wait", "outage", _blind, _nothing),
    Row(
        "return ungated",
        _ungated_returns,
        "gate",
        "promote",
        _numbered(_UNGATED, _ungated_returns),
        _pulls_at,
    ),
    Row(
        "failed",
        _revert_needed,
        "open revert",
        "promote",
        _says("The rollout failed. Promote opens the pull request that goes back."),
        _rollout_at,
    ),
    Row("blind", lambda observation: observation.failures, "wait", "outage", _blind, _nothing),
    Row(
        "alias behind",
        _champion_behind,
        "set champion",
        "promote",
        _says("Alias champion follows what was last seen healthy."),
        _rollout_at,
    ),
    Row("unrecognised", _unrecognised, "wait", "person", _unrecognised_says, _named_at),
    Row(
        "unrecorded",
        _unrecorded,
        "record success",
        "promote",
        _says("The release is healthy. Promote writes it down."),
        _named_at,
    ),
    Row(
        "obsolete",
        _obsolete,
        "close",
        "promote",
        _numbered("{} is no longer needed. Promote closes it.", _obsolete),
        _pulls_at,
    ),
    Row(
        "failed unrecorded",
        lambda observation: observation.has_failed and _rolling(observation),
        "record failure",
        "promote",
        _says("The rollout failed. Promote writes it down."),
        _named_at,
    ),
    Row(
        "unannounced",
        lambda observation: (
            _rolling(observation)
            and observation.release_commit
            and observation.release_commit.rollout is None
        ),
        "announce",
        "promote",
        _says("The release is new on main. Its time to become healthy begins."),
        _named_at,
    ),
    Row("rolling out", _rolling, "wait", "rollout", _rolling_says, _named_at),
    Row("failed, held", _failed, "wait", "person", _held, _rollout_at),
    Row(
        "closing",
        _closing,
        "close",
        "promote",
        _numbered("{} was superseded. Promote closes it.", _closing),
        _pulls_at,
    ),
    Row("edited", _unflagged, "flag", "promote", _numbered(_EDITED, _unflagged), _pulls_at),
    Row("edited", _edited, "wait", "person", _numbered(_EDITED, _edited), _pulls_at),
    Row(
        "stale",
        _stale,
        "close",
        "promote",
        _numbered(
            "{} was judged against another release or by another policy than main's. Promote closes it and judges again.",
            _stale,
        ),
        _pulls_at,
    ),
    Row(
        "superseded",
        _superseded,
        "label",
        "promote",
        _numbered("{} has a newer proposal beside it.", _superseded),
        _pulls_at,
    ),
    Row(
        "ungated",
        lambda observation: _ungated(observation) and observation.policy_problem,
        "wait",
        "person",
        _policy_says,
        _nothing,
    ),
    Row("ungated", _ungated, "gate", "promote", _numbered(_UNGATED, _ungated), _pulls_at),
    Row(
        "left behind",
        _left_behind,
        "drop challenger",
        "promote",
        _challenger_is("{} was left by a rollback or a revert. It is no challenger any more."),
        _registered_at,
    ),
    Row("no challenger", _no_challenger, "wait", None, _no_challenger_says, _rollout_at),
    Row(
        "had its turn",
        _had_its_turn,
        "wait",
        None,
        _challenger_is("{} was released before. It is not proposed again."),
        _rollout_at,
    ),
    Row(
        "proposed",
        _proposed,
        "wait",
        "reviewer",
        _numbered("{} waits for a review.", _proposed),
        _pulls_at,
    ),
    Row(
        "rejected",
        _rejected,
        "wait",
        None,
        _numbered("A person closed {} without merging it.", _rejected),
        _closed_at,
    ),
    Row(
        "unjudged",
        lambda observation: observation.verdict is None and observation.policy_problem,
        "wait",
        "person",
        _policy_says,
        _registered_at,
    ),
    Row(
        "unjudged",
        lambda observation: observation.verdict is None,
        "judge",
        "promote",
        _challenger_is("{} is judged next."),
        _registered_at,
    ),
    Row(
        "kept",
        lambda observation: observation.outcome == "keep",
        "wait",
        None,
        _verdict_says,
        _judged_at,
    ),
    Row(
        "inconclusive",
        lambda observation: observation.outcome == "inconclusive",
        "wait",
        None,
        _verdict_says,
        _judged_at,
    ),
    Row(
        "unbuilt",
        lambda observation: observation.image is None,
        "build",
        "promote",
        _challenger_is("The image of {} is built next."),
        _judged_at,
    ),
    Row(
        "unbranched",
        lambda observation: observation.branch is None,
        "branch",
        "promote",
        _challenger_is("{} gets its branch next."),
        _judged_at,
    ),
    Row(
        "unopened",
        lambda _: True,
        "open",
        "promote",
        _challenger_is("{} gets its pull request next."),
        _judged_at,
    ),
)
