"""A forge in memory: commits with whole trees, branches, pull requests and statuses.

It also does what people do: push, merge, close.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from promote.errors import CommitNotFound, ForgeRefused
from promote.forge.port import (
    Difference,
    FileVersion,
    NewBranch,
    PullRequest,
    Status,
    StatusState,
    blob_id,
)


@dataclass(frozen=True)
class FakeCommit:
    parents: tuple[str, ...]
    files: Mapping[str, bytes]
    message: str
    at: datetime
    executable: frozenset[str] = frozenset()


@dataclass(eq=False)
class FakeForge:
    """Time moves by a second a write unless `now` is given."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    now: Callable[[], datetime] | None = None
    commits: dict[str, FakeCommit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    pulls: dict[int, PullRequest] = field(default_factory=dict)
    bodies: dict[int, str] = field(default_factory=dict)
    comments: dict[int, list[str]] = field(default_factory=dict)
    statuses_of: dict[str, dict[str, Status]] = field(default_factory=dict)
    _ticks: int = 0

    def __post_init__(self) -> None:
        self.branches["main"] = self._write((), dict(self.files), "The first commit", self._time())

    def refresh(self) -> None:
        """Nothing to do: the fake always answers from the present."""

    def head(self) -> str:
        return self.branches["main"]

    def read_file(self, path: str, commit: str) -> bytes | None:
        return self._commit(commit).files.get(path)

    def list_folder(self, path: str, commit: str) -> tuple[str, ...]:
        names = self._commit(commit).files
        return tuple(sorted(name for name in names if name.rpartition("/")[0] == path))

    def history(self, path: str, head: str) -> tuple[FileVersion, ...]:
        found: list[FileVersion] = []
        current: str | None = head
        while current is not None:
            commit = self._commit(current)
            parent = commit.parents[0] if commit.parents else None
            before = self._commit(parent).files.get(path) if parent else None
            if commit.files.get(path) != before:
                found.append(FileVersion(current, commit.at, commit.files.get(path)))
            current = parent
        return tuple(found)

    def statuses(self, commit: str) -> tuple[Status, ...]:
        return tuple(status for _, status in sorted(self.statuses_of.get(commit, {}).items()))

    def set_status(
        self,
        commit: str,
        context: str,
        state: StatusState,
        description: str,
        *,
        unless: Collection[StatusState] = (),
    ) -> None:
        self._commit(commit)
        text = description if len(description) <= 140 else description[:139] + "…"
        before = self.statuses_of.setdefault(commit, {}).get(context)
        if before and before.state in unless:
            return
        if before is None or (before.state, before.description) != (state, text):
            self.statuses_of[commit][context] = Status(context, state, text, self._time())

    def branch_commit(self, name: str) -> str | None:
        return self.branches.get(name)

    def create_branch(self, branch: NewBranch) -> str:
        if branch.name not in self.branches:
            parent = self._commit(branch.parent)
            self.branches[branch.name] = self._write(
                (branch.parent,),
                {**parent.files, **branch.files},
                branch.message,
                parent.at,
                parent.executable,
            )
        return self.branches[branch.name]

    def pull_requests(self, prefix: str) -> tuple[PullRequest, ...]:
        found = [self._shown(pull) for number, pull in sorted(self.pulls.items(), reverse=True)]
        return tuple(pull for pull in found if pull.branch.startswith(prefix))

    def difference(self, base: str, head: str) -> Difference:
        fork = self._merge_base(base, head)
        before, after = self._commit(fork), self._commit(head)
        changed = {
            name
            for name in {*before.files, *after.files}
            if before.files.get(name) != after.files.get(name)
        }
        found = {
            name: after.files.get(name)
            for name in sorted(changed | (before.executable ^ after.executable))
        }
        ids = {
            name: None if content is None else blob_id(content) for name, content in found.items()
        }
        return Difference(fork, ids)

    def open_pull_request(self, branch: str, title: str, body: str) -> PullRequest:
        for pull in self.pulls.values():
            if pull.branch == branch and pull.state == "open":
                return self._shown(pull)
        if branch not in self.branches:
            asked = f"asked the fake forge to open a pull request from {branch}"
            raise ForgeRefused(f"{asked}: it answered 422, no such branch.")
        number = len(self.pulls) + 1
        self.pulls[number] = PullRequest(
            number,
            branch,
            self.branches[branch],
            "open",
            title,
            f"https://forge.test/pull/{number}",
            self._time(),
        )
        self.bodies[number] = body
        return self.pulls[number]

    def comment(self, number: int, marker: str, body: str) -> None:
        hidden = f"<!-- ratchet:{marker} -->"
        written = self.comments.setdefault(number, [])
        if not any(hidden in comment for comment in written):
            written.append(f"{body}\n\n{hidden}")

    def add_label(self, number: int, label: str) -> None:
        self.pulls[number] = replace(self.pulls[number], labels=self.pulls[number].labels | {label})

    def close(self, number: int) -> None:
        pull = self._shown(self.pulls[number])
        if pull.state == "open":
            self.pulls[number] = replace(pull, state="closed", closed_at=self._time())

    # what people do

    def push(
        self,
        files: Mapping[str, bytes | None],
        *,
        branch: str = "main",
        message: str = "A person's commit",
    ) -> str:
        """Commit on a branch; None removes a file."""
        parent = self.branches[branch]
        tree = {
            name: content
            for name, content in {**self._commit(parent).files, **files}.items()
            if content is not None
        }
        self.branches[branch] = self._write(
            (parent,), tree, message, self._time(), self._commit(parent).executable
        )
        return self.branches[branch]

    def make_executable(self, path: str, *, branch: str = "main") -> str:
        """Commit a change of a file's mode, and of nothing else."""
        parent = self.branches[branch]
        before = self._commit(parent)
        self.branches[branch] = self._write(
            (parent,),
            before.files,
            "Make a file executable",
            self._time(),
            before.executable | {path},
        )
        return self.branches[branch]

    def merge(self, number: int, *, squash: bool = False) -> str:
        """Merge a pull request the way the forge's button does; its branch stays."""
        pull = self._shown(self.pulls[number])
        if pull.state != "open":
            raise ForgeRefused(f"pull request {number} is {pull.state}")
        after = self._commit(pull.head).files
        changed = {name: after.get(name) for name in self.difference(self.head(), pull.head).files}
        merged = {**self._commit(self.head()).files, **changed}
        tree = {name: content for name, content in merged.items() if content is not None}
        parents = (self.head(),) if squash else (self.head(), pull.head)
        at = self._time()
        commit = self._write(
            parents,
            tree,
            f"Merge pull request #{number}",
            at,
            self._commit(self.head()).executable | self._commit(pull.head).executable,
        )
        self.branches["main"] = commit
        self.pulls[number] = replace(pull, state="merged", merge_commit=commit, closed_at=at)
        return commit

    def _shown(self, pull: PullRequest) -> PullRequest:
        return (
            replace(pull, head=self.branches.get(pull.branch, pull.head))
            if pull.state == "open"
            else pull
        )

    def _merge_base(self, base: str, head: str) -> str:
        of_base = set(self._reachable(base))
        found = next((commit for commit in self._reachable(head) if commit in of_base), None)
        if found is None:
            raise ForgeRefused(
                f"asked the fake forge to compare {base} and {head}: they share no commit."
            )
        return found

    def _reachable(self, commit: str) -> Iterator[str]:
        """The commit and its ancestors, nearest first."""
        seen, queue = {commit}, [commit]
        while queue:
            current = queue.pop(0)
            yield current
            parents = [parent for parent in self._commit(current).parents if parent not in seen]
            seen.update(parents)
            queue.extend(parents)

    def _commit(self, sha: str) -> FakeCommit:
        if not re.fullmatch("[0-9a-f]{40}", sha):
            raise ForgeRefused(f"Promote reads commits by their full hashes, not {sha!r}.")
        if sha not in self.commits:
            raise CommitNotFound(f"No branch of the fake forge leads to commit {sha}.")
        return self.commits[sha]

    def _write(
        self,
        parents: tuple[str, ...],
        files: Mapping[str, bytes],
        message: str,
        at: datetime,
        executable: frozenset[str] = frozenset(),
    ) -> str:
        what = (parents, sorted(files.items()), message, at, sorted(executable))
        sha = hashlib.sha1(repr(what).encode()).hexdigest()
        self.commits[sha] = FakeCommit(parents, dict(files), message, at, executable)
        return sha

    def _time(self) -> datetime:
        self._ticks += 1
        return (
            self.now()
            if self.now
            else datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self._ticks)
        )
