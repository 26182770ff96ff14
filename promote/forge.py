"""What promote asks of a forge (GitHub), as a port, and the frozen values it answers with. The real one is `github_forge.py`.

GitHub operations behind it, all under `/repos/{owner}/{repo}`:
GET git/ref/heads/X, git/commits/{sha}, commits (sha, path, per_page), commits/{sha}/status, contents/{path} (ref), pulls/{n}, pulls/{n}/files,
pulls (state, base, head, sort=updated, direction), issues/{n}/comments;
POST git/blobs (base64), git/trees (base_tree), git/commits (author and committer with dates), git/refs, pulls, issues/{n}/comments, issues/{n}/labels,
statuses/{sha}; PATCH pulls/{n} (state closed).
"""

from __future__ import annotations

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
    merge_commit: str | None = None
    """The first-parent commit of main by which it landed; None unless merged."""
    labels: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class NewBranch:
    """A branch with one commit on top of `parent`. Its commit is a function of these fields: author and committer dates are the parent's committer date."""

    name: str
    parent: str
    files: dict[str, bytes]
    message: str


class Forge(Protocol):
    """One repository of a forge. Every write is idempotent: asked again, it leaves and answers the same.

    Raises, from every method:
        promote.errors.ForgeUnavailable: It did not answer, or said to try again later: nothing is known.
        promote.errors.ForgeRefused: It refused the token, or understood and said no.
    """

    def head(self) -> str:
        """The commit that main points at."""

    def read_file(self, path: str, commit: str) -> bytes | None:
        """A file's bytes at a commit; None when that commit has no such file."""

    def list_folder(self, path: str, commit: str) -> tuple[str, ...]:
        """Paths of the files directly in a folder, sorted; empty when that commit has no such folder."""

    def history(self, path: str, head: str) -> tuple[FileVersion, ...]:
        """First-parent commits, from `head` back, that changed the file; newest first."""

    def statuses(self, commit: str) -> tuple[Status, ...]:
        """The newest status of each context, sorted by context."""

    def set_status(self, commit: str, context: str, state: StatusState, description: str, url: str = "") -> None:
        """Write a status; not again when the newest of the context says the same. A description is cut at 140 characters."""

    def branch_commit(self, name: str) -> str | None:
        """The commit that a branch points at; None when there is no such branch."""

    def create_branch(self, branch: NewBranch) -> str:
        """Write blobs, tree and commit, then the ref: the commit point. Return the commit.

        A branch that is there already is left as it is, whatever it points at, and its commit returned: branches are written once.
        """

    def pull_requests(self, prefix: str) -> tuple[PullRequest, ...]:
        """Every pull request to main, in any state, from a branch of this repository whose name begins with `prefix`; newest first."""

    def changed_files(self, number: int) -> tuple[str, ...]:
        """Paths that a pull request changes, sorted."""

    def open_pull_request(self, branch: str, title: str, body: str) -> PullRequest:
        """Open one from `branch` to main; the one that is open already is returned as it is."""

    def comment(self, number: int, marker: str, body: str) -> None:
        """Comment once: a hidden `marker` (letters, digits, dashes) finds the comment again."""

    def add_label(self, number: int, label: str) -> None:
        """Put a label on a pull request."""

    def close(self, number: int) -> None:
        """Close a pull request without merging it."""
