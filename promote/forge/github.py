"""The forge port on GitHub: files and history from a local mirror, all else by REST (PyGithub).

PyGithub's errors become promote's here, in one place.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import github
import requests

from promote.errors import ForgeRefused, ForgeUnavailable, PromoteError
from promote.forge.mirror import Mirror
from promote.forge.port import Difference, FileVersion, NewBranch, PullRequest, Status, StatusState
from promote.forge.pull_list import PullList, pull_request
from promote.settings import PromoteSettings

_DESCRIPTION_LENGTH = 140
_LONGEST_WAIT_SECONDS = 60.0
_TRIES = 5
_WRITES_OF_A_PROPOSAL = 2
"""The pull request and its status. A push is none of REST's writes."""
_SHARE_OF_PROPOSALS = 0.85
"""Of the writes of an hour: new branches leave some for statuses, comments and ways back."""
_Answer = TypeVar("_Answer")


class GitHubForge:
    """One repository.

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
        self._url, self._name, self._branch = url, repository, branch
        self._repository = client.get_repo(repository)
        self._mirror = Mirror(
            mirror,
            git_url(url, repository),
            token,
            branch=branch,
            timeout_seconds=timeout_seconds,
        )
        self._pulls = PullList(self._list_pulls, repository)
        self._is_pulls_new = self._is_mirror_new = False
        self._problem: PromoteError | None = None
        self._write_times: deque[float] = deque()
        self._clock, self._writes_per_hour = clock, writes_per_hour

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
        self._is_pulls_new = self._is_mirror_new = False
        self._problem = None

    def head(self) -> str:
        """The commit that main points at."""
        return self._fetched().head()

    def read_file(self, path: str, commit: str) -> bytes | None:
        """A file's bytes at a commit; None when there is no such file, or a folder or a link."""
        return self._fetched().read_file(path, commit)

    def list_folder(self, path: str, commit: str) -> tuple[str, ...]:
        """Paths of the files directly in a folder, sorted; empty without such a folder."""
        return self._fetched().list_folder(path, commit)

    def history(self, path: str, head: str) -> tuple[FileVersion, ...]:
        """First-parent commits, from `head` back, that changed the file; newest first."""
        return self._fetched().history(path, head)

    def difference(self, base: str, head: str) -> Difference:
        """What merging commit `head` into commit `base` changes."""
        return self._fetched().difference(base, head)

    def branch_commit(self, name: str) -> str | None:
        """The commit that a branch points at; None when there is no such branch."""
        return self._fetched().branch_commit(name)

    def pull_requests(self, prefix: str) -> tuple[PullRequest, ...]:
        """Every pull request to main from a branch that begins with `prefix`; newest first."""
        self._once(self._read_pulls)
        mirror = self._fetched()
        return tuple(
            replace(pull, head=mirror.branch_commit(pull.branch) or pull.head)
            if pull.state == "open"
            else pull
            for pull in self._pulls.from_branches(prefix)
        )

    def _list_pulls(self) -> Any:
        return self._repository.get_pulls(
            state="all", sort="updated", direction="desc", base=self._branch
        )

    def _fetched(self) -> Mirror:
        self._once(self._fetch)
        return self._mirror

    def _once(self, read: Callable[[], None]) -> None:
        """Read what is not new. A failure lasts until the next `refresh`: it is not asked again."""
        if self._problem is not None:
            raise self._problem
        try:
            read()
        except PromoteError as error:
            self._problem = error
            raise

    def _read_pulls(self) -> None:
        if not self._is_pulls_new:
            with self._asking("its pull requests"):
                self._pulls.read()
            self._is_pulls_new = True

    def _fetch(self) -> None:
        if not self._is_mirror_new:
            self._mirror.fetch()
            self._is_mirror_new = True

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        """Ask for a write. What was read before is old afterwards, also when the write fails."""
        self._count_write(what)
        try:
            with self._asking(what):
                yield
        finally:
            self.refresh()

    def _count_write(self, what: str) -> None:
        self._check_writes(what, 1, self._writes_per_hour)
        self._write_times.append(self._clock())

    def _check_writes(self, what: str, count: int, limit: float) -> None:
        """Refuse what would bring the writes of the last hour above a limit."""
        hour_ago = self._clock() - 3600
        while self._write_times and self._write_times[0] <= hour_ago:
            self._write_times.popleft()
        if self._writes_per_hour and len(self._write_times) + count > limit:
            raise ForgeUnavailable(
                f"Did not ask {self._url} {what}: promote wrote {len(self._write_times)} times in "
                f"the last hour, and may write {self._writes_per_hour} times. "
                "Promote tries again in "
                f"{self._write_times[0] - hour_ago:.0f} s."
            )

    def statuses(self, commit: str) -> tuple[Status, ...]:
        """The newest status of each context, sorted by context."""
        with self._asking(f"the statuses of commit {commit[:12]}"):
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
        self._count_write(what)
        with self._asking(what):
            found = self._repository.get_commit(commit)
            found.create_status(state, description=text, context=context)

    def create_branch(self, branch: NewBranch) -> str:
        """Push one commit as a new branch: the commit point. Return the commit."""
        existing = self.branch_commit(branch.name)
        if existing is not None:
            return existing
        limit = _SHARE_OF_PROPOSALS * self._writes_per_hour
        self._check_writes(f"to create the branch {branch.name}", _WRITES_OF_A_PROPOSAL, limit)
        try:
            commit = self._mirror.push(branch)
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
                return self._visible(lambda: self._open_from(branch), error)

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

    def _visible(
        self, look: Callable[[], _Answer | None], error: github.GithubException
    ) -> _Answer:
        """Return what a write left that was answered "already exists".

        GitHub shows a write a moment later.
        """
        for attempt in range(_TRIES):
            answer = look()
            if answer is not None:
                return answer
            time.sleep(0.1 * 2**attempt)
        raise error

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        asked = (
            f"asked {self._url} for {what} of {self._name}"
            if not what.startswith("to ")
            else f"asked {self._url} {what} of {self._name}"
        )
        try:
            yield
        except PromoteError:
            raise
        except github.RateLimitExceededException as error:
            raise ForgeUnavailable(
                f"{asked}: the rate limit is used up. Promote asks again later."
            ) from error
        except github.GithubException as error:
            raise _translated(asked, error) from error
        except requests.exceptions.RequestException as error:
            raise ForgeUnavailable(
                f"{asked}: no answer ({error}). Is it running, and is PROMOTE_FORGE_URL right?"
            ) from error
        except Exception as error:  # PyGithub raises anything on an answer of another shape
            raise ForgeUnavailable(
                f"{asked}: the answer is not one of GitHub's ({type(error).__name__}). "
                "Promote asks again later. "
                "Is PROMOTE_FORGE_URL the REST root, and does a proxy answer in its place?"
            ) from error


def _translated(asked: str, error: github.GithubException) -> ForgeRefused | ForgeUnavailable:
    said = error.data.get("message", "") if isinstance(error.data, dict) else str(error.data)
    details = error.data.get("errors") if isinstance(error.data, dict) else None
    found = f"{asked}: it answered {error.status} {said}{f' {details}' if details else ''}"
    if error.status >= 500 or error.status == 429:
        return ForgeUnavailable(f"{found}. Promote asks again later.")
    if error.status in {401, 403}:
        return ForgeRefused(
            f"{found}. Give PROMOTE_FORGE_TOKEN a token that may read and write contents, "
            "pull requests, issues and commit statuses."
        )
    if error.status == 404:
        return ForgeRefused(
            f"{found}. Either it does not exist, or the token may not see it: "
            "check PROMOTE_REPOSITORY, PROMOTE_BRANCH and PROMOTE_FORGE_TOKEN."
        )
    return ForgeRefused(f"{found}.")


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
