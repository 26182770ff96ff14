"""The pull requests of all models, by one list that is read only up to what is already known."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from promote.forge.port import PullRequest


class PullList:
    """Pull requests from branches of one repository, as the last list showed them."""

    def __init__(self, list_all: Callable[[], Iterable[Any]], repository: str) -> None:
        """Keep what to ask.

        Args:
            list_all: Lists GitHub's pull requests in every state, by their last update, newest
                first. The list asks for another page when somebody iterates that far.
            repository: `owner/name`; pull requests from other repositories are left out.
        """
        self._list_all, self._repository = list_all, repository.lower()
        self._pulls: dict[int, PullRequest] = {}
        self._by_branch: list[tuple[str, int]] = []
        self._until = datetime.min.replace(tzinfo=UTC)

    def read(self) -> None:
        """Read what changed since the last time.

        A pull request that changes while later pages are read moves to the first page. So a list
        of many pages is followed by another list, which is short.
        """
        while self._read_once() > 100:
            pass

    def _read_once(self) -> int:
        count, until = 0, self._until
        changed: dict[int, PullRequest] = {}
        for pull in self._list_all():
            updated_at = pull.updated_at
            if updated_at < self._until:
                break
            until, count = max(until, updated_at), count + 1
            if self._is_ours(pull):
                changed.setdefault(pull.number, pull_request(pull))
        is_known = all(self._pulls.get(number) == pull for number, pull in changed.items())
        if not is_known:
            self._pulls |= changed
            self._by_branch = sorted((pull.branch, pull.number) for pull in self._pulls.values())
        self._until = until
        return 0 if is_known else count

    def from_branches(self, prefix: str) -> tuple[PullRequest, ...]:
        """Return the pull requests from branches whose name begins with `prefix`, newest first."""
        numbers = []
        for branch, number in self._by_branch[bisect_left(self._by_branch, (prefix, 0)) :]:
            if not branch.startswith(prefix):
                break
            numbers.append(number)
        return tuple(self._pulls[number] for number in sorted(numbers, reverse=True))

    def _is_ours(self, pull: Any) -> bool:
        source = pull.head.repo
        return source is not None and source.full_name.lower() == self._repository


def pull_request(pull: Any) -> PullRequest:
    """Return one of GitHub's pull requests as promote's value."""
    merged = pull.merged_at is not None
    return PullRequest(
        number=pull.number,
        branch=pull.head.ref,
        head=pull.head.sha,
        state="merged" if merged else pull.state,
        title=pull.title,
        url=pull.html_url,
        created_at=pull.created_at,
        closed_at=pull.closed_at,
        merge_commit=pull.merge_commit_sha if merged else None,
        labels=frozenset(label.name for label in pull.labels),
    )
