"""What main named over time, and what served, by its commits and their statuses. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from promote.contract import Release
from promote.forge.port import Status

ROLLOUT_CONTEXT = "ratchet/rollout"


@dataclass(frozen=True)
class ReleaseCommit:
    """A first-parent commit of main that changed release.yaml, and what came of it."""

    commit: str
    at: datetime
    content: bytes | None
    release: Release | None
    """None when the content is no release, or when the commit removed the file."""
    rollout: Status | None = None

    @property
    def served(self) -> bool:
        """Its release was seen healthy, so far as a status says."""
        return (
            self.release is not None
            and self.rollout is not None
            and self.rollout.state == "success"
        )

    @property
    def failed(self) -> bool:
        """A status says that its release did not become healthy."""
        return self.rollout is not None and self.rollout.state in {"failure", "error"}


@dataclass(frozen=True)
class ServedAt:
    """What served at an instant, since when, and by which commit of main."""

    release: Release
    commit: str
    healthy_at: datetime
    why: str


History = tuple[ReleaseCommit, ...]
"""Newest first."""


def last_served(history: Sequence[ReleaseCommit]) -> ReleaseCommit | None:
    """Return the newest that was seen healthy: the champion."""
    return next((commit for commit in history if commit.served), None)


def has_served(history: Sequence[ReleaseCommit]) -> bool:
    """Return whether any release of the history was ever seen healthy."""
    return last_served(history) is not None


def left_behind(history: Sequence[ReleaseCommit]) -> frozenset[int]:
    """Return the versions that a rollback or a revert left, and that main does not name now.

    A commit goes back when an older commit named the same bytes. It leaves what main named
    between the two. A version that main goes back to later is not left any more.

    Args:
        history: Newest first, complete.
    """
    left: set[int] = set()
    oldest_first = list(reversed(history))
    for position, commit in enumerate(oldest_first):
        if commit.release is None:
            continue
        earlier = [at for at in range(position) if oldest_first[at].content == commit.content]
        if earlier:
            between = oldest_first[earlier[-1] + 1 : position]
            left |= {one.release.version for one in between if one.release}
        left.discard(commit.release.version)
    return frozenset(left)


def return_target(
    history: Sequence[ReleaseCommit], *, version: int | None = None
) -> ReleaseCommit | None:
    """Return the newest earlier release that served and is another than what main names.

    Args:
        history: Newest first, complete.
        version: The version that a person named. Without it, versions that a rollback or a
            revert left are passed over.
    """
    now = history[0].content if history else None
    left = left_behind(history)
    for commit in history:
        if not commit.served or commit.content == now or commit.release is None:
            continue
        if commit.release.version == version or (
            version is None and commit.release.version not in left
        ):
            return commit
    return None


def served_at(history: Sequence[ReleaseCommit], instant: datetime) -> ServedAt | None:
    """Return what served at an instant: what was last seen healthy, unless main named nothing.

    Args:
        history: Newest first, complete.
        instant: Aware.
    """
    healthy = [
        commit
        for commit in history
        if commit.served and commit.rollout is not None and commit.rollout.at <= instant
    ]
    removed_at = max(
        (commit.at for commit in history if commit.content is None and commit.at <= instant),
        default=None,
    )
    if not healthy:
        return None
    newest = max(
        healthy,
        key=lambda commit: commit.rollout.at if commit.rollout else commit.at,
    )  # of equals the first, which main named later
    if (
        newest.release is None
        or newest.rollout is None
        or (removed_at is not None and removed_at >= newest.rollout.at)
    ):
        return None
    return ServedAt(
        newest.release, newest.commit, newest.rollout.at, _why(newest, history, instant)
    )


def _why(newest: ReleaseCommit, history: Sequence[ReleaseCommit], instant: datetime) -> str:
    tried = [
        commit
        for commit in history
        if newest.at < commit.at <= instant and commit.release is not None
    ]
    again = any(commit.content == newest.content and commit.at < newest.at for commit in history)
    rollback = " again, by a rollback" if again else ""
    sentence = (
        f"main named it in commit {newest.commit[:12]}{rollback}, "
        "and no other release was seen healthy after it"
    )
    failed = [commit for commit in tried if commit.failed]
    if failed:
        return f"{sentence}; version {_version(failed[0])}, named later, did not become healthy"
    if tried:
        return (
            f"{sentence}; version {_version(tried[0])} was named by then, and not yet seen healthy"
        )
    return sentence


def _version(commit: ReleaseCommit) -> str:
    return str(commit.release.version) if commit.release else "unknown"
