"""One model's promotion: what was observed, the state it is in, and the one next act. Pure.

`TABLE` holds the states in order; the first one that fits counts. The first states need the forge
only, so that ways back work while MLflow, the image registry and the cluster API are away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from promote.cluster.port import RolloutStatus
from promote.contract import Outcome, State, Verdict, WaitsFor
from promote.forge.port import PullRequest
from promote.release.history import (
    History,
    Named,
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
    """Why a part could not be observed."""

    is_outage: bool
    """True: the same question may be answered later. False: a person has to act first."""
    sentence: str


@dataclass(frozen=True)
class Challenger:
    """The version that alias `challenger` names."""

    version: int
    registered_at: datetime | None = None


@dataclass(frozen=True)
class ObservedPull:
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
    pulls: tuple[ObservedPull, ...] = ()
    """Newest first."""

    @property
    def is_blind(self) -> bool:
        """True when something could not be observed."""
        return self.forge_failure is not None or bool(self.failures)

    @property
    def named(self) -> Named | None:
        """M: the newest commit that names a release; None when main names none."""
        return self.history[0] if self.history and self.history[0].content is not None else None

    @property
    def over(self) -> str | None:
        """The commit that a proposal of now is based on, as branches write it."""
        return self.named.commit[:12] if self.named else None

    @property
    def deadline_at(self) -> datetime | None:
        """Until when what main names may become healthy; None before the rollout is announced.

        Counted from promote's first look at the commit: a commit may be made long before it is
        pushed.
        """
        if self.named is None or self.named.rollout is None:
            return None
        return max(self.named.at, self.named.rollout.at) + self.deadline

    @property
    def is_healthy(self) -> bool:
        """What main names runs, all of it."""
        return (
            self.named is not None and self.rollout is not None and self.rollout.state == "healthy"
        )

    @property
    def has_failed(self) -> bool:
        """What main names did not become healthy: the cluster says so, or time is over."""
        if self.named is None or self.rollout is None or self.is_healthy:
            return False
        is_late = self.deadline_at is not None and self.at >= self.deadline_at
        return self.rollout.state == "failed" or is_late

    @property
    def open(self) -> tuple[ObservedPull, ...]:
        """Open pull requests of ours."""
        return tuple(observed for observed in self.pulls if observed.is_open)

    @property
    def outcome(self) -> Outcome | None:
        """The verdict's outcome; None without one."""
        return self.verdict.outcome if self.verdict else None


Pulls = Sequence[ObservedPull]
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
    pulls: tuple[ObservedPull, ...] = ()


def decide(seen: Observation) -> Step:
    """Return the first row that matches; the last row matches always.

    Nothing is reported as done while a release has failed (a person is waited for) or a pull
    request of ours is open (a reviewer is).
    """
    row, found = next((row, found) for row in TABLE if (found := row.when(seen)))
    pulls = tuple(found) if isinstance(found, tuple | list) else ()
    waits_for = _who(seen) if row.state == "blind" else row.waits_for
    step = Step(row.state, row.act, waits_for, row.reason(seen), row.since(seen, pulls), pulls)
    if step.waits_for is None and seen.named is not None and seen.named.failed:
        held = replace(step, state="failed, held", waits_for="person", pulls=())
        return replace(held, reason=_first_failed(seen), since=_rollout_at(seen, ()))
    if step.waits_for is None and seen.open:
        numbers = ", ".join(f"#{one.pull.number}" for one in seen.open)
        return replace(
            step, waits_for="reviewer", reason=f"{step.reason} {numbers} waits for a review."
        )
    return step


def _who(seen: Observation) -> WaitsFor:
    """A refusal or a fault beside an outage still needs a person."""
    failures = [seen.forge_failure] if seen.forge_failure else seen.failures
    return "outage" if all(failure.is_outage for failure in failures) else "person"


def _blind(seen: Observation) -> str:
    failures = [seen.forge_failure] if seen.forge_failure else seen.failures
    return " ".join(failure.sentence for failure in failures)


def _champion_behind(seen: Observation) -> bool:
    served = last_served(seen.history)
    return (
        served is not None
        and served.release is not None
        and served.release.version != seen.champion
    )


def _unrecognised(seen: Observation) -> bool:
    if not seen.history:
        return False
    if seen.named is None:
        return has_served(seen.history)
    return seen.named.release is None or not seen.is_recognised


def _unrecorded(seen: Observation) -> bool:
    return seen.is_healthy and seen.named is not None and not seen.named.served


def _rolling(seen: Observation) -> bool:
    """Main names a release whose rollout has no end yet."""
    named = seen.named
    return named is not None and not (named.served or named.failed)


def _failed(seen: Observation) -> bool:
    """True when a failure is recorded and there is something to go back to."""
    named = seen.named
    return named is not None and named.failed and return_target(seen.history) is not None


def _revert_needed(seen: Observation) -> bool:
    """True also while the cluster does not answer: the recorded failure and the target are git's."""
    return _failed(seen) and not seen.is_healthy and not _returns(seen)


def _returns(seen: Observation) -> Pulls:
    return [one for one in seen.pulls if one.is_return and one.branch.over == seen.over]


def _proposals(seen: Observation) -> Pulls:
    return [observed for observed in seen.open if not observed.is_return]


def _obsolete(seen: Observation) -> Pulls:
    """Reverts that are no longer needed, and ways back to what main names already."""
    named = seen.named.release if seen.named else None
    return [
        one
        for one in seen.open
        if (one.branch.purpose == "revert" and (seen.is_healthy or one.branch.over != seen.over))
        or (one.is_return and named is not None and one.branch.version == named.version)
    ]


def _closing(seen: Observation) -> Pulls:
    return [observed for observed in seen.open if SUPERSEDED in observed.pull.labels]


def _edited(seen: Observation) -> Pulls:
    return [observed for observed in seen.open if not observed.as_proposed]


def _unflagged(seen: Observation) -> Pulls:
    return [observed for observed in _edited(seen) if observed.gate != "failure"]


def _stale(seen: Observation) -> Pulls:
    """Proposals over another release than main names, or judged by another policy than main's."""
    return [one for one in _proposals(seen) if one.branch.over != seen.over or not one.is_current]


def _superseded(seen: Observation) -> Pulls:
    """All proposals over what main names but one: the challenger's, or else the newest."""

    def rank(one: ObservedPull) -> tuple[bool, int, int]:
        return _is_challenger(seen, one), one.branch.version, one.pull.number

    return sorted(_proposals(seen), key=rank)[:-1]


def _is_challenger(seen: Observation, observed: ObservedPull) -> bool:
    return seen.challenger is not None and observed.branch.version == seen.challenger.version


def _ungated_returns(seen: Observation) -> Pulls:
    """Ways back, which a person must be able to merge whatever else is wrong."""
    return [one for one in _ungated(seen) if one.is_return and one.as_proposed]


def _ungated(seen: Observation) -> Pulls:
    return [observed for observed in seen.open if observed.gate != "success"]


def _left_behind(seen: Observation) -> bool:
    challenger = seen.challenger
    return challenger is not None and challenger.version in left_behind(seen.history)


def _no_challenger(seen: Observation) -> bool:
    named = seen.named.release if seen.named else None
    return seen.challenger is None or (
        named is not None and named.version == seen.challenger.version
    )


def _had_its_turn(seen: Observation) -> bool:
    turns = {named.release.version for named in seen.history if named.release}
    return seen.challenger is not None and seen.challenger.version in turns


def _proposed(seen: Observation) -> Pulls:
    return [observed for observed in _proposals(seen) if _is_challenger(seen, observed)]


def _rejected(seen: Observation) -> Pulls:
    """A closing that we did not label is a person's word about a version."""
    closed = [one for one in seen.pulls if one.pull.state == "closed" and not one.is_return]
    theirs = [one for one in closed if _is_challenger(seen, one)]
    return [one for one in theirs if SUPERSEDED not in one.pull.labels]


def _says(text: str) -> Says:
    return lambda _: text


def _numbered(text: str, pulls: Callable[[Observation], Pulls]) -> Says:
    return lambda seen: text.format(", ".join(f"#{one.pull.number}" for one in pulls(seen)))


def _version(seen: Observation) -> str:
    release = seen.named.release if seen.named else None
    return f"version {release.version}" if release else "what main names"


def _challenger_is(text: str) -> Says:
    return lambda seen: text.format(
        f"Version {seen.challenger.version if seen.challenger else '?'}"
    )


def _rolling_says(seen: Observation) -> str:
    reason = seen.rollout.reason if seen.rollout else ""
    until = f"{seen.deadline_at:%Y-%m-%dT%H:%M:%SZ}" if seen.deadline_at else "its deadline"
    return f"The rollout of {_version(seen)} may take until {until}. The cluster says: {reason}"


def _unrecognised_says(seen: Observation) -> str:
    if seen.named is None:
        return "release.yaml was removed from main. Restore it (`promote rollback`), or delete the model's folder and its Flux object too."
    return f"release.yaml at commit {seen.named.commit[:12]} is neither a proposal of promote nor was it released before. Revert that commit."


def _held(seen: Observation) -> str:
    numbers = ", ".join(f"#{one.pull.number}" for one in _returns(seen))
    return f"The rollout of {_version(seen)} failed. Merge or reopen {numbers}, or commit another release."


def _first_failed(seen: Observation) -> str:
    said = seen.named.rollout.description if seen.named and seen.named.rollout else ""
    return (
        f"The rollout of {_version(seen)} failed, and no earlier release served: there is nothing to "
        f"go back to. It said: {said}. Mend the cause, or revert the commit; the next challenger is "
        "then proposed as a first release."
    )


def _no_challenger_says(seen: Observation) -> str:
    if seen.challenger is None:
        return "MLflow names no challenger. The next retraining may register one."
    return f"The challenger, version {seen.challenger.version}, is what main names."


def _verdict_says(seen: Observation) -> str:
    if seen.verdict is None or not seen.verdict.reasons:
        return "The gate did not support this version."
    return seen.verdict.reasons[0].sentence


def _policy_says(seen: Observation) -> str:
    return seen.policy_problem or ""


def _nothing(_: Observation, __: Pulls) -> None:
    return None


def _pulls_at(_: Observation, pulls: Pulls) -> datetime | None:
    return min((one.pull.created_at for one in pulls), default=None)


def _closed_at(_: Observation, pulls: Pulls) -> datetime | None:
    return max((one.pull.closed_at for one in pulls if one.pull.closed_at), default=None)


def _named_at(seen: Observation, _: Pulls) -> datetime | None:
    return seen.history[0].at if seen.history else None


def _rollout_at(seen: Observation, _: Pulls) -> datetime | None:
    named = seen.named
    return named.rollout.at if named and named.rollout else None


def _registered_at(seen: Observation, _: Pulls) -> datetime | None:
    return seen.challenger.registered_at if seen.challenger else None


def _judged_at(seen: Observation, _: Pulls) -> datetime | None:
    return seen.judged_at


_EDITED = "{} no longer changes exactly what promote proposed. Restore the branch, or close the pull request."
_UNGATED = "{} waits for the status ratchet/gate, which promote sets next."

TABLE: tuple[Row, ...] = (
    Row("blind", lambda seen: seen.forge_failure, "wait", "outage", _blind, _nothing),
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
    Row("blind", lambda seen: seen.failures, "wait", "outage", _blind, _nothing),
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
        lambda seen: seen.has_failed and _rolling(seen),
        "record failure",
        "promote",
        _says("The rollout failed. Promote writes it down."),
        _named_at,
    ),
    Row(
        "unannounced",
        lambda seen: _rolling(seen) and seen.named and seen.named.rollout is None,
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
        lambda seen: _ungated(seen) and seen.policy_problem,
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
        lambda seen: seen.verdict is None and seen.policy_problem,
        "wait",
        "person",
        _policy_says,
        _registered_at,
    ),
    Row(
        "unjudged",
        lambda seen: seen.verdict is None,
        "judge",
        "promote",
        _challenger_is("{} is judged next."),
        _registered_at,
    ),
    Row("kept", lambda seen: seen.outcome == "keep", "wait", None, _verdict_says, _judged_at),
    Row(
        "inconclusive",
        lambda seen: seen.outcome == "inconclusive",
        "wait",
        None,
        _verdict_says,
        _judged_at,
    ),
    Row(
        "unbuilt",
        lambda seen: seen.image is None,
        "build",
        "promote",
        _challenger_is("The image of {} is built next."),
        _judged_at,
    ),
    Row(
        "unbranched",
        lambda seen: seen.branch is None,
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
