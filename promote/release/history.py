"""What main named over time, and what served: its first-parent history of one file, with the rollout statuses of its commits. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from promote.contract import Release
from promote.forge.port import FileVersion, Status

ROLLOUT_CONTEXT = "ratchet/rollout"


@dataclass(frozen=True)
class GraphCommit:
    """A commit as a list of commits shows it."""

    parents: tuple[str, ...]
    at: datetime


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
    """Return what served at an instant: the release whose rollout was last seen healthy by then, unless main had stopped naming any.

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
    sentence = f"main named it in commit {newest.commit[:12]}{' again, by a rollback' if again else ''}, and it was seen healthy"
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


def first_parents(
    head: str, graph: Mapping[str, GraphCommit], *, until: str | None = None
) -> list[str]:
    """Return the first-parent commits from `head` back, newest first, without `until` and what is before it.

    Raises:
        KeyError: The graph lacks a commit of the line.

    >>> at = datetime(2013, 7, 8)
    >>> first_parents("c", {"c": GraphCommit(("b", "x"), at), "b": GraphCommit(("a",), at), "a": GraphCommit((), at)})
    ['c', 'b', 'a']
    """
    line: list[str] = []
    current: str | None = head
    while current is not None and current != until:
        line.append(current)
        parents = graph[current].parents
        current = parents[0] if parents else None
    return line


def changes(
    line: Sequence[str],
    graph: Mapping[str, GraphCommit],
    touching: Collection[str],
    read: Callable[[str], bytes | None],
) -> list[FileVersion]:
    """Return the commits of a first-parent line that changed a file, newest first, reading it at few commits.

    A forge lists commits that touch a path along all parents, and leaves out merges; such a commit counts for the commit of the line that brought it.

    Args:
        line: Newest first; its last commit's first parent, if any, is where the caller's knowledge ends.
        graph: All commits that the forge listed; one missing makes the merge that brought it a candidate.
        touching: Those that the forge lists for the path.
        read: The file at a commit.
    """
    found: list[FileVersion] = []
    if not line:
        return found
    before_line = graph[line[-1]].parents
    content = read(before_line[0]) if before_line else None
    reached: set[str] = set(before_line[:1])
    for commit in reversed(line):
        brought = _brought_by(commit, graph, reached)
        if brought is not None and not any(one in touching for one in brought):
            continue
        after = read(commit)
        if after != content:
            found.append(FileVersion(commit, graph[commit].at, after))
            content = after
    return found[::-1]


def _brought_by(
    commit: str, graph: Mapping[str, GraphCommit], reached: set[str]
) -> list[str] | None:
    """Return the commits that came to the line with this one; None when the graph does not know them all. Adds them to `reached`."""
    brought, stack, complete = [], [commit], True
    while stack:
        current = stack.pop()
        if current in reached:
            continue
        reached.add(current)
        brought.append(current)
        if current in graph:
            stack.extend(graph[current].parents)
        else:
            complete = False
    return brought if complete else None
