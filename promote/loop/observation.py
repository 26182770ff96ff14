"""What was observed of one model: an `Observation`, or `Blind` when a part did not answer. Pure.

A failed look is never read as an absence, so `Blind` has none of the fields that could mean one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from promote.cluster.port import RolloutStatus
from promote.contract import Outcome, Release, Slot, Verdict
from promote.errors import NoPolicy, PromoteError
from promote.forge.port import PullRequest
from promote.release.history import History, ReleaseCommit, return_target
from promote.release.slot import BranchName

SUPERSEDED = "ratchet/superseded"
"""The label of pull requests that promote closes. A closing without the label is a person's."""


@dataclass(frozen=True)
class DatedVerdict:
    """A verdict, and when it was reached."""

    verdict: Verdict
    at: datetime | None = None


@dataclass(frozen=True)
class Challenger:
    """The version that alias `challenger` names, and what promote made for it so far."""

    version: int
    registered_at: datetime | None = None
    judged: DatedVerdict | None = None
    """Against main's release by main's policy."""
    image: str | None = None
    """As a release names it; None when it is not built."""
    branch: str | None = None
    """The commit of its branch; None when the branch is not written."""

    @property
    def outcome(self) -> Outcome | None:
        """The verdict's outcome; None without a verdict."""
        return self.judged.verdict.outcome if self.judged else None


@dataclass(frozen=True)
class ProposedPull:
    """A pull request of promote's, and what its branch holds."""

    pull: PullRequest
    branch: BranchName
    as_proposed: bool | None = None
    """Merging it changes exactly the files that promote proposes, to exactly those bytes.

    None when that was not examined: the pull request is closed, or it is a promotion and MLflow or
    the image registry did not answer.
    """
    gate: str | None = None
    """State of the head's status `ratchet/gate`; None when there is no such status."""
    is_current: bool = True
    """Judged against main's release by main's policy. Always true for a way back."""

    @property
    def is_open(self) -> bool:
        """True while it is neither merged nor closed."""
        return self.pull.state == "open"

    @property
    def is_return(self) -> bool:
        """True for a rollback and a revert."""
        return self.branch.purpose != "promotion"


@dataclass(frozen=True)
class ForgeView:
    """What the forge alone says of a model. That is enough for ways back."""

    model: str
    environment: str
    main: str
    """Main's newest commit."""
    history: History
    pulls: tuple[ProposedPull, ...]
    """Newest first."""

    @property
    def slot(self) -> Slot:
        """The model in its environment."""
        return Slot(self.model, self.environment)

    @property
    def release_commit(self) -> ReleaseCommit | None:
        """The newest commit that changed release.yaml; None when main has no release.yaml."""
        return self.history[0] if self.history and self.history[0].content is not None else None

    @property
    def release(self) -> Release | None:
        """The release that main names; None when main names none, or a file that is no release."""
        return self.release_commit.release if self.release_commit else None

    @property
    def base_commit(self) -> str | None:
        """The commit that a proposal made now is based on, as branch names write it."""
        return self.release_commit.commit[:12] if self.release_commit else None

    @property
    def open(self) -> tuple[ProposedPull, ...]:
        """Open pull requests of promote's."""
        return tuple(one for one in self.pulls if one.is_open)

    @property
    def is_rolling_out(self) -> bool:
        """Main names a release, and no status says how its rollout ended."""
        commit = self.release_commit
        return commit is not None and not (commit.served or commit.failed)

    @property
    def needs_way_back(self) -> bool:
        """A status says that main's release failed, and an earlier release served."""
        commit = self.release_commit
        return commit is not None and commit.failed and return_target(self.history) is not None

    @property
    def ways_back(self) -> tuple[ProposedPull, ...]:
        """Pull requests, open or not, that return from the release that main names."""
        base = self.base_commit
        return tuple(one for one in self.pulls if one.is_return and one.branch.base_commit == base)


@dataclass(frozen=True)
class Blind:
    """A look in which at least one part did not answer."""

    model: str
    environment: str
    at: datetime
    failures: tuple[PromoteError, ...]
    """What the parts answered instead; at least one."""
    forge: ForgeView | None = None
    """None when the forge did not answer; then no other part was asked."""
    rollout: RolloutStatus | None = None
    """Of the release that main names; None when the cluster did not answer."""
    challenger: Challenger | None = None
    """None when MLflow or the image registry did not answer, or when there is no challenger."""


@dataclass(frozen=True)
class Observation(ForgeView):
    """A look in which every part answered."""

    at: datetime
    policy: str | NoPolicy
    """Digest of main's policy, as branch names write it; or why main has no policy."""
    is_recognised: bool = True
    """Promote proposed or released before what main names."""
    rollout: RolloutStatus | None = None
    """Of the release that main names; None when main names no release."""
    deadline: timedelta = timedelta(minutes=5)
    """How long a rollout may take."""
    champion: int | None = None
    challenger: Challenger | None = None

    @property
    def version(self) -> int | None:
        """The challenger's version."""
        return self.challenger.version if self.challenger else None

    @property
    def deadline_at(self) -> datetime | None:
        """Until when main's release may become healthy; None before the rollout is announced.

        Counted from promote's first look at the commit, because a commit may be made long before
        it is pushed.
        """
        if self.release_commit is None or self.release_commit.rollout is None:
            return None
        return max(self.release_commit.at, self.release_commit.rollout.at) + self.deadline

    @property
    def is_healthy(self) -> bool:
        """All pods of the release that main names are ready."""
        return self.rollout is not None and self.rollout.state == "healthy"

    @property
    def has_failed(self) -> bool:
        """The cluster says that main's release failed, or its time is over."""
        if self.rollout is None or self.is_healthy:
            return False
        is_late = self.deadline_at is not None and self.at >= self.deadline_at
        return self.rollout.state == "failed" or is_late


Look = Blind | Observation
