"""What promote asks of a forge (GitHub), as a port, and the frozen values of the answers.

The implementation is `github.py`. It reads git from a local mirror, and creates branches by a push.
Its operations of GitHub's REST API, all under `/repos/{owner}/{repo}`:
GET statuses/{sha}, pulls/{n}, issues/{n}/comments, pulls (state, base, head, sort=updated,
direction); POST pulls, issues/{n}/comments, issues/{n}/labels, statuses/{sha};
PATCH pulls/{n} (state closed).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

StatusState = Literal["success", "failure", "pending", "error"]


@dataclass(frozen=True)
class Status:
    """A commit status: the newest of its `context`."""

    context: str
    state: StatusState
    description: str
    at: datetime


@dataclass(frozen=True)
class FileVersion:
    """A first-parent commit of main that changed one file."""

    commit: str
    at: datetime
    """The committer's date: when it landed, for a merge done by the forge."""
    content: bytes | None
    """The file after the commit; None when the commit removed it."""


@dataclass(frozen=True)
class PullRequest:
    """A pull request from a branch of this repository."""

    number: int
    branch: str
    head: str
    """The commit that the branch points at; the last one it had when the branch is gone."""
    state: Literal["open", "merged", "closed"]
    title: str
    url: str
    """For people."""
    created_at: datetime
    closed_at: datetime | None = None
    """When it was merged or closed; None while it is open. All moments are aware and in UTC."""
    merge_commit: str | None = None
    """The first-parent commit of main by which it landed; None unless merged."""
    labels: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Difference:
    """What merging one commit into another changes: from their merge base to the merged commit."""

    merge_base: str
    files: Mapping[str, str | None]
    """Path to git's blob id of the file after the change, None for a file that is gone.

    A renamed file has both names here, the old one with None. A file whose mode alone changed is
    here, with the id that it had. A symbolic link is a file that holds its target's path, so equal
    ids mean equal bytes, but not that the file is no link. A submodule has its commit as its id.
    """


@dataclass(frozen=True)
class NewBranch:
    """A branch with one commit on top of `parent`.

    These fields decide the commit: its dates are the parent's committer date.
    """

    name: str
    parent: str
    files: dict[str, bytes]
    message: str


def blob_id(content: bytes) -> str:
    r"""Return the id that git gives to a file of these bytes.

    >>> blob_id(b"hello\n")
    'ce013625030ba8dba906f756967f9e9ca394464a'
    """
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class Forge(Protocol):
    """One repository of a forge. Every write is idempotent: a repeated write changes nothing.

    Raises, from every method:
        promote.errors.ForgeUnavailable: It did not answer, or asked to try again later.
        promote.errors.ForgeRefused: It refused the token, or understood and said no.
        promote.errors.CommitNotFound: Neither main nor a branch `ratchet/*` leads to the commit.
    """

    def __hash__(self) -> int:
        """A forge is the key of what is kept of its commits, which never change."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Read pull requests and git again when the next question comes.

        Until then, answers about them are those of the first question. A write refreshes too. A
        reading that failed is not tried again before the next `refresh`: its error is raised again.
        This method itself asks nothing and raises nothing.
        """

    def head(self) -> str:
        """The commit that main points at."""

    def read_file(self, path: str, commit: str) -> bytes | None:
        """A file's bytes at a commit; None for an absent file, a folder or a link."""

    def list_folder(self, path: str, commit: str) -> tuple[str, ...]:
        """Paths of the files directly in a folder, sorted; empty without such a folder."""

    def history(self, path: str, head: str) -> tuple[FileVersion, ...]:
        """First-parent commits of main, from `head` back, that changed the file; newest first."""

    def statuses(self, commit: str) -> tuple[Status, ...]:
        """The newest status of each context, sorted by context."""

    def set_status(
        self,
        commit: str,
        context: str,
        state: StatusState,
        description: str,
        *,
        unless: Collection[StatusState] = (),
    ) -> None:
        """Write a status, unless the newest status of the context says the same.

        Args:
            commit: Its full hash.
            context: Such as `ratchet/gate`.
            state: The new one.
            description: Is cut at 140 characters.
            unless: Write nothing when the newest status of the context has one of these states.
        """

    def branch_commit(self, name: str) -> str | None:
        """The commit that a branch points at; None when there is no such branch."""

    def create_branch(self, branch: NewBranch) -> str:
        """Write one commit, then the branch: the commit point. Return the commit.

        An existing branch stays as it is, and its commit is returned: branches are written once.
        """

    def pull_requests(self, prefix: str) -> tuple[PullRequest, ...]:
        """Every pull request to main from a branch that begins with `prefix`; newest first."""

    def difference(self, base: str, head: str) -> Difference:
        """What merging commit `head` into commit `base` changes.

        It takes commits, full hashes, and no pull request's number: the head of a pull request may
        move between two questions. Of a `head` that `base` contains, it is empty.
        """

    def open_pull_request(self, branch: str, title: str, body: str) -> PullRequest:
        """Open one from `branch` to main; the one that is open already is returned as it is."""

    def comment(self, number: int, marker: str, body: str) -> None:
        """Comment once: a hidden `marker` (letters, digits, dashes) finds the comment again."""

    def add_label(self, number: int, label: str) -> None:
        """Put a label on a pull request."""

    def close(self, number: int) -> None:
        """Close a pull request without merging it."""
