"""One model's promotion: what was observed → the state it is in → the one next act. DESIGN.md section 7's table, as a table. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from promote.contract import Verdict
from promote.forge import PullRequest
from promote.history import History, Named, last_served
from promote.release import BranchName
from promote.rollout import RolloutStatus

SUPERSEDED = "ratchet/superseded"

Act = Literal["wait", "set champion", "record success", "record failure", "open revert", "close", "flag", "label", "gate", "judge", "build", "branch", "open"]
"""`wait` does nothing; every other act has one commit point, which the next observation sees."""


@dataclass(frozen=True)
class Challenger:
    """The version that alias `challenger` names."""

    version: int
    named_again: bool = False
    """A person asked for another turn of a version that main named before."""


@dataclass(frozen=True)
class ObservedPull:
    """A pull request of ours, and what its branch holds."""

    pull: PullRequest
    branch: BranchName
    as_proposed: bool = True
    """The head changes what promote proposes and nothing else; only looked at while it is open."""
    gate: str | None = None
    """State of the head's status `ratchet/gate`; None when there is none."""

    @property
    def is_open(self) -> bool:
        """True while it is neither merged nor closed."""
        return self.pull.state == "open"


@dataclass(frozen=True)
class Observation:
    """Everything that one look saw. With `failures`, the rest means nothing."""

    model: str
    environment: str
    at: datetime
    failures: tuple[str, ...] = ()
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
    verdict: Verdict | None = None
    image: str | None = None
    """The challenger's, as a release names it; None when it is not built."""
    branch: str | None = None
    """The commit of the challenger's branch over what main names."""
    pulls: tuple[ObservedPull, ...] = ()
    """Newest first."""

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
        """Until when what main names may still become healthy."""
        return self.named.at + self.deadline if self.named else None

    @property
    def is_healthy(self) -> bool:
        """What main names runs, all of it."""
        return self.named is not None and self.rollout is not None and self.rollout.state == "healthy"

    @property
    def has_failed(self) -> bool:
        """What main names did not become healthy: the cluster says so, or time is over."""
        if self.named is None or self.rollout is None or self.deadline_at is None or self.is_healthy:
            return False
        return self.rollout.state == "failed" or self.at >= self.deadline_at

    @property
    def open(self) -> tuple[ObservedPull, ...]:
        """Open pull requests of ours."""
        return tuple(observed for observed in self.pulls if observed.is_open)


Pulls = Sequence[ObservedPull]


@dataclass(frozen=True)
class Row:
    """A state: when it holds, the act, what it waits for, and the pull requests it is about."""

    state: str
    when: Callable[[Observation], object]
    """Truthy when the state holds; a sequence of pull requests says which ones."""
    act: Act
    waiting_for: Callable[[Observation], str | None]


@dataclass(frozen=True)
class Step:
    """What to do next."""

    state: str
    act: Act
    waiting_for: str | None
    """None when nothing is left to wait for. Begins with who is waited for: `a person`, `a reviewer`, `the rollout`, `an answer`, `promote`."""
    pulls: tuple[ObservedPull, ...] = ()


def decide(seen: Observation) -> Step:
    """Return the first row that matches; the last row matches always."""
    for row in TABLE:
        found = row.when(seen)
        if found:
            pulls = tuple(found) if isinstance(found, tuple | list) else ()
            return Step(row.state, row.act, row.waiting_for(seen), pulls)
    raise AssertionError("the table's last row matches always")  # pragma: no cover


def _champion_behind(seen: Observation) -> bool:
    served = last_served(seen.history)
    return served is not None and served.release is not None and served.release.version != seen.champion


def _unrecognised(seen: Observation) -> bool:
    return bool(seen.history) and (seen.named is None or seen.named.release is None or not seen.is_recognised)


def _unrecorded(seen: Observation) -> bool:
    return seen.is_healthy and seen.named is not None and not seen.named.served


def _failed(seen: Observation) -> bool:
    """True when a failure is recorded and there is something to go back to."""
    named = seen.named
    return named is not None and named.failed and return_target(seen.history) is not None


def return_target(history: History, *, version: int | None = None) -> Named | None:
    """Return the newest earlier commit whose release served and is another than what main names; of a given version if one is given."""
    now = history[0].content if history else None
    fits = (named for named in history if named.served and named.content != now and named.release is not None)
    return next((named for named in fits if version is None or (named.release and named.release.version == version)), None)


def _returns(seen: Observation) -> Pulls:
    return [observed for observed in seen.pulls if observed.branch.purpose != "promotion" and observed.branch.over == seen.over]


def _proposals(seen: Observation) -> Pulls:
    return [observed for observed in seen.open if observed.branch.purpose == "promotion"]


def _obsolete(seen: Observation) -> Pulls:
    reverts = [observed for observed in seen.open if observed.branch.purpose == "revert"]
    return [observed for observed in reverts if seen.is_healthy or observed.branch.over != seen.over]


def _closing(seen: Observation) -> Pulls:
    return [observed for observed in seen.open if SUPERSEDED in observed.pull.labels]


def _edited(seen: Observation) -> Pulls:
    return [observed for observed in seen.open if not observed.as_proposed]


def _stale(seen: Observation) -> Pulls:
    return [observed for observed in _proposals(seen) if observed.branch.over != seen.over]


def _superseded(seen: Observation) -> Pulls:
    """All proposals over what main names but one: the challenger's, or else the newest."""
    proposals = sorted(_proposals(seen), key=lambda observed: (_is_challenger(seen, observed), observed.branch.version, observed.pull.number))
    return proposals[:-1]


def _is_challenger(seen: Observation, observed: ObservedPull) -> bool:
    return seen.challenger is not None and observed.branch.version == seen.challenger.version


def _ungated_returns(seen: Observation) -> Pulls:
    """Ways back, which a person must be able to merge whatever else is wrong."""
    return [observed for observed in _ungated(seen) if observed.branch.purpose != "promotion" and observed.as_proposed]


def _ungated(seen: Observation) -> Pulls:
    return [observed for observed in seen.open if observed.gate != "success"]


def _no_challenger(seen: Observation) -> bool:
    named = seen.named.release if seen.named else None
    return seen.challenger is None or (named is not None and named.version == seen.challenger.version)


def _had_its_turn(seen: Observation) -> bool:
    turns = {named.release.version for named in seen.history if named.release}
    return seen.challenger is not None and seen.challenger.version in turns and not seen.challenger.named_again


def _proposed(seen: Observation) -> Pulls:
    return [observed for observed in _proposals(seen) if _is_challenger(seen, observed)]


def _rejected(seen: Observation) -> Pulls:
    """A closing that we did not label is a person's word about a version, whatever it was based on."""
    closed = [observed for observed in seen.pulls if observed.pull.state == "closed" and observed.branch.purpose == "promotion"]
    return [observed for observed in closed if _is_challenger(seen, observed) and SUPERSEDED not in observed.pull.labels]


def _says(text: str) -> Callable[[Observation], str | None]:
    return lambda seen: text.format(seen=seen, named=seen.named)


def _nothing(_: Observation) -> None:
    return None


def _rolling(seen: Observation) -> str:
    reason = seen.rollout.reason if seen.rollout else ""
    return f"the rollout of version {_version(seen)}, until {seen.deadline_at:%Y-%m-%dT%H:%M:%SZ}: {reason}"


def _version(seen: Observation) -> str:
    return str(seen.named.release.version) if seen.named and seen.named.release else "unknown"


def _unrecognised_says(seen: Observation) -> str:
    if seen.named is None:
        return "a person: main names no release any more; restore release.yaml (`promote rollback`), or delete the model's folder and Flux object too"
    return f"a person: release.yaml at {seen.named.commit[:12]} is neither a proposal of promote nor was it released before; revert that commit"


def _held(seen: Observation) -> str:
    numbers = ", ".join(f"#{observed.pull.number}" for observed in _returns(seen))
    return f"a person: version {_version(seen)} failed; merge or reopen {numbers}, or commit another release"


def _numbered(text: str, pulls: Callable[[Observation], Pulls]) -> Callable[[Observation], str | None]:
    return lambda seen: text.format(", ".join(f"#{observed.pull.number}" for observed in pulls(seen)))


_ourselves = _says("promote")

TABLE: tuple[Row, ...] = (
    Row("blind", lambda seen: bool(seen.failures), "wait", lambda seen: "an answer: " + "; ".join(seen.failures)),
    Row("alias behind", _champion_behind, "set champion", _ourselves),
    Row("return ungated", _ungated_returns, "gate", _ourselves),
    Row("unrecognised", _unrecognised, "wait", _unrecognised_says),
    Row("unrecorded", _unrecorded, "record success", _ourselves),
    Row("obsolete", _obsolete, "close", _ourselves),
    Row("rolling out", lambda seen: seen.named and not (seen.is_healthy or seen.has_failed or seen.named.failed or seen.named.served), "wait", _rolling),
    Row("failed unrecorded", lambda seen: seen.has_failed and seen.named and seen.named.rollout is None, "record failure", _ourselves),
    Row("failed", lambda seen: _failed(seen) and not _returns(seen), "open revert", _ourselves),
    Row("failed, held", _failed, "wait", _held),
    Row("closing", _closing, "close", _ourselves),
    Row("edited", lambda seen: [observed for observed in _edited(seen) if observed.gate != "failure"], "flag", _ourselves),
    Row("edited", _edited, "wait", _numbered("a person: {} no longer changes what promote proposed; restore the branch, or close the pull request", _edited)),
    Row("stale", _stale, "close", _ourselves),
    Row("superseded", _superseded, "label", _ourselves),
    Row("ungated", _ungated, "gate", _ourselves),
    Row("no challenger", _no_challenger, "wait", _nothing),
    Row("had its turn", _had_its_turn, "wait", _nothing),
    Row("proposed", _proposed, "wait", _numbered("a reviewer of {}", _proposed)),
    Row("rejected", _rejected, "wait", _nothing),
    Row("unjudged", lambda seen: seen.verdict is None and seen.policy_problem, "wait", _says("a person: {seen.policy_problem}")),
    Row("unjudged", lambda seen: seen.verdict is None, "judge", _ourselves),
    Row("kept", lambda seen: seen.verdict and seen.verdict.outcome != "promote", "wait", _nothing),
    Row("unbuilt", lambda seen: seen.image is None, "build", _ourselves),
    Row("unbranched", lambda seen: seen.branch is None, "branch", _ourselves),
    Row("unopened", lambda _: True, "open", _ourselves),
)
