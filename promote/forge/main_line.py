"""The first-parent history of main, file by file, read from a local git repository."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise

import pygit2

from promote.forge.port import FileVersion
from promote.forge.tree_changes import TreeChanges

_Change = tuple[str, datetime, str | None]
"""Of a file: the commit, its date, and the blob that the commit left there."""


class MainLine:
    """The line of commits that ends at one head of main. Only `follow` changes the line."""

    def __init__(self, repository: pygit2.Repository, head: str) -> None:
        """Read the whole line: 20,000 commits of a repository with 1,000 models take 3 s."""
        self._repository = repository
        self._head: str | None = None
        self._positions: dict[str, int] = {}
        self._changes: defaultdict[str, list[_Change]] = defaultdict(list)
        """By path, oldest first."""
        self._content = lru_cache(maxsize=1 << 16)(self._bytes)
        self.follow(head)

    def follow(self, head: str) -> bool:
        """Add the commits since the last head; False when `head` does not lead back to it."""
        walk = self._repository.walk(head)
        walk.simplify_first_parent()
        line: list[pygit2.Commit] = []
        for commit in walk:
            line.append(commit)
            if str(commit.id) in self._positions:
                break
        if self._head not in {None, str(line[-1].id)}:
            return False
        trees: list[str | None] = [str(commit.tree_id) for commit in line]
        if self._head is None:
            trees.append(None)
        changes = TreeChanges(lambda tree: self._repository.read(tree)[1])
        # From new to old: libgit2 then has the neighbour's tree in its cache.
        changed = [list(changes.between(older, newer)) for newer, older in pairwise(trees)]
        for commit, files in reversed(list(zip(line, changed, strict=False))):
            name, at = str(commit.id), datetime.fromtimestamp(commit.commit_time, UTC)
            self._positions[name] = len(self._positions)
            for path, blob in files:
                self._changes[path].append((name, at, blob))
        self._head = head
        return True

    def history(self, path: str, head: str) -> tuple[FileVersion, ...]:
        """Return the commits that changed a file, from `head` back, newest first.

        Raises:
            KeyError: `head` is no commit of the line.
        """
        last = self._positions[head]
        return tuple(
            FileVersion(name, at, self._content(blob))
            for name, at, blob in reversed(self._changes.get(path, ()))
            if self._positions[name] <= last
        )

    def _bytes(self, blob: str | None) -> bytes | None:
        return None if blob is None else self._repository.read(blob)[1]
