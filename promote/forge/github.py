"""The forge port on GitHub: git by a local mirror, all else by REST (PyGithub)."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import github

from promote.errors import ForgeRefused, ForgeUnavailable, PromoteError
from promote.forge.github_errors import translated_errors
from promote.forge.mirror import Answer, Mirror, Opened
from promote.forge.port import NewBranch, PullRequest, Status, StatusState
from promote.forge.pull_list import PullList, pull_request
from promote.forge.write_budget import WriteBudget
from promote.settings import PromoteSettings

_DESCRIPTION_LENGTH = 140
_LONGEST_WAIT_SECONDS = 60.0
_TRIES = 5
_WRITES_OF_A_PROPOSAL = 2
"""The pull request and its status. A push is none of REST's writes."""
_SHARE_OF_PROPOSALS = 0.85
"""Of the writes of an hour: new branches leave some for statuses, comments and ways back."""


class GitHubForge(Mirror):
    """One repository: its mirror for all questions about git, and REST for the rest.

    Answers about git and pull requests are those of the last `refresh` or of the first question.
    A write makes the next question read both again.
    """

    def __init__(
        self,
        url: str,
        token: str,
        repository: str,
        *,
        mirror: Path,
        branch: str = "main",
        seconds_between_writes: float = 1.0,
        seconds_between_requests: float = 0.0,
        writes_per_hour: int = 0,
        timeout_seconds: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        client = github.Github(
            auth=github.Auth.Token(token),
            base_url=url.rstrip("/"),
            timeout=max(1, round(timeout_seconds)),
            per_page=100,
            retry=github.GithubRetry(
                total=3,
                backoff_factor=0.3,
                secondary_rate_wait=30,
                max_rate_limit_wait=_LONGEST_WAIT_SECONDS,
            ),
            seconds_between_requests=seconds_between_requests,
            seconds_between_writes=seconds_between_writes,
            lazy=True,
        )
        address = git_url(url, repository)
        super().__init__(mirror, address, token, branch=branch, timeout_seconds=timeout_seconds)
        self._api, self._name = url, repository
        self._repository = client.get_repo(repository)
        self._pulls = PullList(self._list_pulls, repository)
        self._budget = WriteBudget(writes_per_hour, clock)
        self._new: set[str] = set()
        """The parts that were read since the last `refresh`."""
        self._problem: PromoteError | None = None

    @classmethod
    def from_settings(cls, settings: PromoteSettings) -> GitHubForge:
        """Return the forge that the settings name."""
        return cls(
            settings.forge_url,
            settings.forge_token.get_secret_value(),
            settings.repository,
            mirror=settings.mirror_folder,
            branch=settings.branch,
            seconds_between_writes=settings.forge_seconds_between_writes,
            writes_per_hour=settings.forge_writes_per_hour,
            seconds_between_requests=settings.forge_seconds_between_requests,
            timeout_seconds=settings.request_timeout_seconds,
        )

    def refresh(self) -> None:
        """Read pull requests, main and branches again when somebody asks next."""
        self._new.clear()
        self._problem = None

    def pull_requests(self, prefix: str) -> tuple[PullRequest, ...]:
        """Every pull request to main from a branch that begins with `prefix`; newest first."""
        self._once("pull requests", self._read_pulls)
        return tuple(
            replace(pull, head=self.branch_commit(pull.branch) or pull.head)
            if pull.state == "open"
            else pull
            for pull in self._pulls.from_branches(prefix)
        )

    def _list_pulls(self) -> Any:
        return self._repository.get_pulls(
            state="all", sort="updated", direction="desc", base=self._branch
        )

    def _read_pulls(self) -> None:
        with self._asking("for its pull requests"):
            self._pulls.read()

    def _read(self, what: str, read: Callable[[Opened], Answer], *commits: str) -> Answer:
        self._once("git", self.fetch)
        return super()._read(what, read, *commits)

    def _once(self, part: str, read: Callable[[], object]) -> None:
        """Read what is not new. A failure lasts until the next `refresh`: it is not asked again."""
        if self._problem is not None:
            raise self._problem
        if part in self._new:
            return
        try:
            read()
        except PromoteError as error:
            self._problem = error
            raise
        self._new.add(part)

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        """Ask for a write. What was read before is old afterwards, also when the write fails."""
        self._budget.spend(what)
        try:
            with self._asking(what):
                yield
        finally:
            self.refresh()

    def statuses(self, commit: str) -> tuple[Status, ...]:
        """The newest status of each context, sorted by context."""
        with self._asking(f"for the statuses of commit {commit[:12]}"):
            newest: dict[str, Status] = {}
            # newest first; GitHub's combined status would stop at 30 contexts
            for found in self._repository.get_commit(commit).get_statuses():
                newest.setdefault(found.context, _status(found))
            return tuple(status for _, status in sorted(newest.items()))

    def set_status(
        self,
        commit: str,
        context: str,
        state: StatusState,
        description: str,
        *,
        unless: Collection[StatusState] = (),
    ) -> None:
        """Write a status, unless the newest status of the context says the same."""
        text = (
            description
            if len(description) <= _DESCRIPTION_LENGTH
            else description[: _DESCRIPTION_LENGTH - 1] + "…"
        )
        newest = next((one for one in self.statuses(commit) if one.context == context), None)
        if newest and (
            newest.state in unless or (newest.state, newest.description) == (state, text)
        ):
            return
        what = f"to set the status {context} of commit {commit[:12]}"
        self._budget.spend(what)
        with self._asking(what):
            found = self._repository.get_commit(commit)
            found.create_status(state, description=text, context=context)

    def create_branch(self, branch: NewBranch) -> str:
        """Push one commit as a new branch: the commit point. Return the commit."""
        existing = self.branch_commit(branch.name)
        if existing is not None:
            return existing
        what = f"to create the branch {branch.name}"
        self._budget.check(what, count=_WRITES_OF_A_PROPOSAL, share=_SHARE_OF_PROPOSALS)
        try:
            commit = self.push(branch)
        except (ForgeRefused, ForgeUnavailable):
            self.refresh()
            existing = self.branch_commit(branch.name)
            if existing is None:
                raise
            return existing
        self.refresh()
        return commit

    def open_pull_request(self, branch: str, title: str, body: str) -> PullRequest:
        """Open one from `branch` to main; the one that is open already is returned as it is."""
        with self._writing(f"to open a pull request from {branch}"):
            existing = self._open_from(branch)
            if existing is not None:
                return existing
            try:
                return pull_request(
                    self._repository.create_pull(self._branch, branch, title=title, body=body)
                )
            except github.GithubException as error:
                if error.status != 422:
                    raise
                for attempt in range(_TRIES):  # GitHub shows a pull request a moment later
                    existing = self._open_from(branch)
                    if existing is not None:
                        return existing
                    time.sleep(0.1 * 2**attempt)
                raise

    def _open_from(self, branch: str) -> PullRequest | None:
        owner = self._name.partition("/")[0]
        found = self._repository.get_pulls(
            state="open", base=self._branch, head=f"{owner}:{branch}"
        )
        return next((pull_request(pull) for pull in found if pull.head.ref == branch), None)

    def comment(self, number: int, marker: str, body: str) -> None:
        """Comment once: a hidden `marker` (letters, digits, dashes) finds the comment again."""
        hidden = f"<!-- ratchet:{marker} -->"
        with self._writing(f"to comment on pull request {number}"):
            pull = self._repository.get_pull(number)
            if not any(hidden in comment.body for comment in pull.get_issue_comments()):
                pull.create_issue_comment(f"{body}\n\n{hidden}")

    def add_label(self, number: int, label: str) -> None:
        """Put a label on a pull request."""
        with self._writing(f"to label pull request {number}"):
            self._repository.get_pull(number).add_to_labels(label)

    def close(self, number: int) -> None:
        """Close a pull request without merging it."""
        with self._writing(f"to close pull request {number}"):
            self._repository.get_pull(number).edit(state="closed")

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        with translated_errors(f"asked {self._api} {what} of {self._name}"):
            yield


def git_url(url: str, repository: str) -> str:
    """Return where a repository answers to git, from the root of the forge's REST API.

    >>> git_url("https://api.github.com", "acme/ratchet")
    'https://github.com/acme/ratchet.git'
    >>> git_url("http://127.0.0.1:8000/api/v3", "acme/ratchet")
    'http://127.0.0.1:8000/acme/ratchet.git'
    """
    root = url.rstrip("/").removesuffix("/api/v3").replace("://api.github.com", "://github.com")
    return f"{root}/{repository}.git"


def _status(status: Any) -> Status:
    return Status(status.context, status.state, status.description or "", status.created_at)
