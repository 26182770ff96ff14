"""The forge port on GitHub's REST API through PyGithub; its errors become promote's here, in one place."""

from __future__ import annotations

import base64
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import github
import requests
from github.InputGitTreeElement import InputGitTreeElement

from promote.errors import ForgeRefused, ForgeUnavailable, PromoteError
from promote.forge.port import Difference, FileVersion, NewBranch, PullRequest, Status, StatusState
from promote.release.history import GraphCommit, changes, first_parents
from promote.settings import PromoteSettings

_AUTHOR = ("ratchet", "ratchet@users.noreply.github.com")
_DESCRIPTION_LENGTH = 140
_LONGEST_WAIT_SECONDS = 60.0
_TRIES = 5
_MOST_FILES_COMPARED = 300
_MOST_REMEMBERED = 4096
_LARGEST_REMEMBERED_BYTES = 1_000_000
_Found = TypeVar("_Found")
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class _Memory(Generic[_Key, _Value]):
    """What cannot change, the last asked for; bounded, so that a process may live long."""

    def __init__(self) -> None:
        self._values: OrderedDict[_Key, _Value] = OrderedDict()

    def get(self, key: _Key) -> _Value | None:
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: _Key, value: _Value) -> None:
        self._values[key] = value
        if len(self._values) > _MOST_REMEMBERED:
            self._values.popitem(last=False)


class GitHubForge:
    """One repository. What cannot change (commits, files at a commit, closed pull requests since last seen) is remembered, so a quiet pass asks little."""

    def __init__(
        self,
        url: str,
        token: str,
        repository: str,
        *,
        branch: str = "main",
        seconds_between_writes: float = 1.0,
        seconds_between_requests: float = 0.0,
        timeout_seconds: float = 15.0,
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
        self._graph: dict[str, GraphCommit] = {}
        self._files: _Memory[tuple[str, str], bytes] = _Memory()
        self._differences: _Memory[tuple[str, str], Difference] = _Memory()
        self._histories: dict[str, tuple[str, tuple[FileVersion, ...]]] = {}
        self._closed: dict[int, PullRequest] = {}
        self._closed_until: datetime | None = None

    @classmethod
    def from_settings(cls, settings: PromoteSettings) -> GitHubForge:
        """Return the forge that the settings name."""
        return cls(
            settings.forge_url,
            settings.forge_token.get_secret_value(),
            settings.repository,
            branch=settings.branch,
            seconds_between_writes=settings.forge_seconds_between_writes,
            seconds_between_requests=settings.forge_seconds_between_requests,
            timeout_seconds=settings.request_timeout_seconds,
        )

    def head(self) -> str:
        """The commit that main points at."""
        with self._asking(f"where {self._branch} points"):
            return str(self._repository.get_git_ref(f"heads/{self._branch}").object.sha)

    def read_file(self, path: str, commit: str) -> bytes | None:
        """A file's bytes at a commit; None when that commit has no such file, or a folder or link there."""
        known = self._files.get((path, commit))
        if known is not None:
            return known
        with self._asking(f"{path} at commit {commit[:12]}"):
            found = self._contents(path, commit)
            if found is None or isinstance(found, list) or found.type in {"symlink", "submodule"}:
                return None
            content = self._bytes_of(found)
        if len(content) <= _LARGEST_REMEMBERED_BYTES:
            self._files.put((path, commit), content)
        return content

    def _bytes_of(self, found: Any) -> bytes:
        if found.encoding == "none":  # above 1 MB GitHub leaves the bytes out
            found = self._repository.get_git_blob(found.sha)
        if found.encoding != "base64":
            raise ValueError(found.encoding)
        return base64.b64decode(found.content)

    def list_folder(self, path: str, commit: str) -> tuple[str, ...]:
        """Paths of the files directly in a folder, sorted; empty when that commit has no such folder."""
        with self._asking(f"{path} at commit {commit[:12]}"):
            found = self._contents(path, commit)
            if not isinstance(found, list):
                return ()
            return tuple(sorted(entry.path for entry in found if entry.type == "file"))

    def history(self, path: str, head: str) -> tuple[FileVersion, ...]:
        """First-parent commits, from `head` back, that changed the file; newest first."""
        known_head, known = self._histories.get(path, (None, ()))
        if head == known_head:
            return known
        with self._asking(f"the commits of {self._branch}"):
            line = self._line(head, until=known_head)
            if (
                known_head is not None and known_head not in self._graph[line[-1]].parents[:1]
            ):  # main was moved: it does not lead back to what we knew
                line, known = self._line(head, until=None), ()
            touching = {commit.sha for commit in self._repository.get_commits(sha=head, path=path)}
        found = (
            *changes(line, self._graph, touching, lambda commit: self.read_file(path, commit)),
            *known,
        )
        self._histories[path] = (head, found)
        return found

    def _line(self, head: str, *, until: str | None) -> list[str]:
        listed = iter(self._repository.get_commits(sha=head))
        while True:
            try:
                return first_parents(head, self._graph, until=until)
            except KeyError:
                self._read_some(listed)

    def _read_some(self, listed: Iterator[Any]) -> None:
        before = len(self._graph)
        for _, commit in zip(range(100), listed, strict=False):
            self._graph[commit.sha] = GraphCommit(
                tuple(parent.sha for parent in commit.parents), commit.commit.committer.date
            )
        if len(self._graph) == before:
            raise ForgeUnavailable(
                f"{self._url} listed commits of {self._name} that do not lead back to the first one; promote asks again."
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
        self, commit: str, context: str, state: StatusState, description: str, url: str = ""
    ) -> None:
        """Write a status; not again when the newest of the context says the same."""
        text = (
            description
            if len(description) <= _DESCRIPTION_LENGTH
            else description[: _DESCRIPTION_LENGTH - 1] + "…"
        )
        if any(
            (status.context, status.state, status.description) == (context, state, text)
            for status in self.statuses(commit)
        ):
            return
        with self._asking(f"to set the status {context} of commit {commit[:12]}"):
            link = {"target_url": url} if url else {}
            self._repository.get_commit(commit).create_status(
                state, description=text, context=context, **link
            )

    def branch_commit(self, name: str) -> str | None:
        """The commit that a branch points at; None when there is no such branch."""
        with self._asking(f"where the branch {name} points"):
            try:
                return str(self._repository.get_git_ref(f"heads/{name}").object.sha)
            except github.UnknownObjectException:
                pass
        self.head()  # a token that may not see the repository gets 404 too: that is no absence
        return None

    def create_branch(self, branch: NewBranch) -> str:
        """Write blobs, tree and commit, then the ref: the commit point. Return the commit."""
        existing = self.branch_commit(branch.name)
        if existing is not None:
            return existing
        with self._asking(f"to create the branch {branch.name}"):
            commit = self._write_commit(branch)
            try:
                self._repository.create_git_ref(f"refs/heads/{branch.name}", commit)
            except github.GithubException as error:
                if error.status != 422:
                    raise
                return self._seen(lambda: self.branch_commit(branch.name), error)
        return commit

    def _write_commit(self, branch: NewBranch) -> str:
        parent = self._repository.get_git_commit(branch.parent)
        elements = []
        for path, content in sorted(branch.files.items()):
            blob = self._repository.create_git_blob(base64.b64encode(content).decode(), "base64")
            elements.append(InputGitTreeElement(path, "100644", "blob", sha=blob.sha))
        tree = self._repository.create_git_tree(elements, parent.tree)
        author = github.InputGitAuthor(
            *_AUTHOR, date=parent.committer.date.strftime("%Y-%m-%dT%H:%M:%SZ")
        )
        return str(
            self._repository.create_git_commit(branch.message, tree, [parent], author, author).sha
        )

    def pull_requests(self, prefix: str) -> tuple[PullRequest, ...]:
        """Every pull request to main, in any state, from a branch of this repository whose name begins with `prefix`; newest first."""
        with self._asking("its pull requests"):
            # Open ones first: one that is closed in between is then seen twice, never not at all.
            is_open = {
                pull.number: _pull_request(pull)
                for pull in self._repository.get_pulls(state="open", base=self._branch)
                if self._is_ours(pull)
            }
            seen_until = newest = self._closed_until or datetime.min.replace(tzinfo=UTC)
            for pull in self._repository.get_pulls(
                state="closed", sort="updated", direction="desc", base=self._branch
            ):
                updated_at = pull.updated_at or seen_until
                if updated_at < seen_until:
                    break
                newest = max(newest, updated_at)
                if self._is_ours(pull):
                    self._closed[pull.number] = _pull_request(pull)
            self._closed_until = newest
        found = {**self._closed, **is_open}
        return tuple(
            found[number]
            for number in sorted(found, reverse=True)
            if found[number].branch.startswith(prefix)
        )

    def _is_ours(self, pull: Any) -> bool:
        return pull.head.repo is not None and pull.head.repo.full_name.lower() == self._name.lower()

    def difference(self, base: str, head: str) -> Difference:
        """What merging commit `head` into commit `base` changes; remembered, since commits do not change."""
        for name in (base, head):
            if not re.fullmatch("[0-9a-f]{40}", name):
                raise ForgeRefused(
                    f"promote compares commits by their full hashes, and was given {name!r}. Look up the commit first."
                )
        known = self._differences.get((base, head))
        if known is None:
            with self._asking(f"what commit {head[:12]} changes in {base[:12]}"):
                # one commit a page: the files come with the first page, and only they count
                compared = self._repository.compare(base, head, comparison_commits_per_page=1)
                known = _difference(compared.merge_base_commit.sha, compared.files)
            self._differences.put((base, head), known)
        return known

    def open_pull_request(self, branch: str, title: str, body: str) -> PullRequest:
        """Open one from `branch` to main; the one that is open already is returned as it is."""
        with self._asking(f"to open a pull request from {branch}"):
            existing = self._open_from(branch)
            if existing is not None:
                return existing
            try:
                return _pull_request(
                    self._repository.create_pull(self._branch, branch, title=title, body=body)
                )
            except github.GithubException as error:
                if error.status != 422:
                    raise
                return self._seen(lambda: self._open_from(branch), error)

    def _open_from(self, branch: str) -> PullRequest | None:
        owner = self._name.partition("/")[0]
        found = self._repository.get_pulls(
            state="open", base=self._branch, head=f"{owner}:{branch}"
        )
        return next((_pull_request(pull) for pull in found if pull.head.ref == branch), None)

    def comment(self, number: int, marker: str, body: str) -> None:
        """Comment once: a hidden `marker` (letters, digits, dashes) finds the comment again."""
        hidden = f"<!-- ratchet:{marker} -->"
        with self._asking(f"to comment on pull request {number}"):
            pull = self._repository.get_pull(number)
            if not any(hidden in comment.body for comment in pull.get_issue_comments()):
                pull.create_issue_comment(f"{body}\n\n{hidden}")

    def add_label(self, number: int, label: str) -> None:
        """Put a label on a pull request."""
        with self._asking(f"to label pull request {number}"):
            self._repository.get_pull(number).add_to_labels(label)

    def close(self, number: int) -> None:
        """Close a pull request without merging it."""
        with self._asking(f"to close pull request {number}"):
            self._repository.get_pull(number).edit(state="closed")

    def _contents(self, path: str, commit: str) -> Any:
        try:
            return self._repository.get_contents(path, ref=commit)
        except github.UnknownObjectException:
            pass
        self.head()  # a token that may not see the repository gets 404 too: that is no absence
        return None

    def _seen(self, look: Callable[[], _Found | None], error: github.GithubException) -> _Found:
        """Return what a write that was answered "already exists" left: it may take a moment to show."""
        for attempt in range(_TRIES):
            found = look()
            if found is not None:
                return found
            time.sleep(
                0.1 * 2**attempt
            )  # GitHub shows a write a moment later, and says nothing when it does
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
        except Exception as error:  # PyGithub ends with any error, also AssertionError, on an answer of another shape
            raise ForgeUnavailable(
                f"{asked}: the answer is not one of GitHub's ({type(error).__name__}). Promote asks again later. "
                "Is PROMOTE_FORGE_URL the REST root, and does a proxy answer in its place?"
            ) from error


def _translated(asked: str, error: github.GithubException) -> ForgeRefused | ForgeUnavailable:
    said = error.data.get("message", "") if isinstance(error.data, dict) else str(error.data)
    details = error.data.get("errors") if isinstance(error.data, dict) else None
    found = f"{asked}: it answered {error.status} {said}{f' {details}' if details else ''}"
    if error.status >= 500 or error.status == 429:
        return ForgeUnavailable(f"{found}. Promote asks again later.")
    if error.status == 403 and "too_large" in str(details):
        return ForgeRefused(
            f"{asked}: the file is too large, the forge gives out no more than 100 MB. Make the file smaller, or remove it."
        )
    if error.status in {401, 403}:
        return ForgeRefused(
            f"{found}. Give PROMOTE_FORGE_TOKEN a token that may read and write contents, pull requests, issues and commit statuses."
        )
    if error.status == 404:
        return ForgeRefused(
            f"{found}. Either it does not exist, or the token may not see it: check PROMOTE_REPOSITORY, PROMOTE_BRANCH and PROMOTE_FORGE_TOKEN."
        )
    return ForgeRefused(f"{found}.")


def _status(found: Any) -> Status:
    return Status(found.context, found.state, found.description or "", found.created_at)


def _difference(merge_base: str, listed: list[Any]) -> Difference:
    files: dict[str, str | None] = {}
    is_complete = len(listed) < _MOST_FILES_COMPARED
    for file in listed:
        if file.status == "renamed":
            files.setdefault(file.previous_filename, None)
        files[file.filename] = None if file.status == "removed" else file.sha
        is_complete = is_complete and (file.status == "removed" or file.sha is not None)
    return Difference(merge_base, files, is_complete)


def _pull_request(found: Any) -> PullRequest:
    merged = found.merged_at is not None
    return PullRequest(
        number=found.number,
        branch=found.head.ref,
        head=found.head.sha,
        state="merged" if merged else found.state,
        title=found.title,
        url=found.html_url,
        created_at=found.created_at,
        closed_at=found.closed_at,
        merge_commit=found.merge_commit_sha if merged else None,
        labels=frozenset(label.name for label in found.labels),
    )
