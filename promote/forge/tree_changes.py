"""Which files differ between two git trees, read from the trees' bytes.

libgit2's own comparison takes 3.5 ms for a folder of 1,000 entries: 70 s for a walk over 20,000
commits. Neighbouring commits differ in one entry. So this file compares bytes first, and parses
only the entries that differ.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_ENTRY = re.compile(rb"(\d+) ([^\0]+)\0(.{20})", re.DOTALL)
_FOLDER = b"40000"
_SHORT_BYTES = 2000
"""Below it, parsing all entries is faster than a search for the difference."""
_Entries = dict[bytes, tuple[bytes, str]]
"""Mode and object id by name."""


@dataclass(frozen=True)
class FileChange:
    """A file that differs, as the newer tree has it."""

    path: str
    mode: bytes | None
    """None when the newer tree has no such file."""
    blob: str | None
    """The object id; None when the newer tree has no such file."""
    is_mode_only: bool = False
    """Both trees have the same bytes, with another mode."""


@dataclass(frozen=True)
class _Tree:
    """The older tree of the last comparison: the newer one of the next."""

    id: str
    bytes: bytes
    starts: list[int] | None = None
    """Where the entries begin."""


class TreeChanges:
    """Compares trees, fastest when a walk goes from new commits to old ones."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        """Keep how to read the bytes of a tree by its id."""
        self._read = read
        self._last: dict[str, _Tree] = {}

    def between(self, older: str | None, newer: str | None) -> list[FileChange]:
        """Return the files that differ; None stands for an empty tree."""
        return [] if older == newer else list(self._walk(older, newer, ""))

    def _walk(self, older: str | None, newer: str | None, folder: str) -> Iterator[FileChange]:
        before, after = self._unlike(older, newer, folder)
        for name in sorted({*before, *after}):
            path = f"{folder}{name.decode(errors='surrogateescape')}"
            old_mode, old_id = before.get(name, (None, None))
            new_mode, new_id = after.get(name, (None, None))
            old_tree = old_id if old_mode == _FOLDER else None
            new_tree = new_id if new_mode == _FOLDER else None
            if old_tree or new_tree:
                yield from self._walk(old_tree, new_tree, f"{path}/")
            if new_tree:
                new_mode, new_id = None, None
            if new_id or not old_tree:
                yield FileChange(path, new_mode, new_id, is_mode_only=old_id == new_id)

    def _unlike(
        self, older: str | None, newer: str | None, folder: str
    ) -> tuple[_Entries, _Entries]:
        """Return the entries that only the older and only the newer tree has."""
        last = self._last.get(folder)
        new = last.bytes if last and last.id == newer else self._read(newer) if newer else b""
        old = self._read(older) if older else b""
        begin, end = 0, max(len(old), len(new))
        if older:
            self._last[folder] = _Tree(older, old)
        if len(old) == len(new) > _SHORT_BYTES:
            starts = last.starts if last and last.id == newer else None
            starts = starts or [entry.start() for entry in _ENTRY.finditer(new)]
            begin, end = _region(old, new, starts)
            if _spans(old, begin, end) == _spans(new, begin, end):
                self._last[folder] = _Tree(str(older), old, starts)
            else:
                begin, end = 0, len(new)
        before, after = (set(_ENTRY.findall(tree, begin, end)) for tree in (old, new))
        return _by_name(before - after), _by_name(after - before)


def _region(old: bytes, new: bytes, starts: list[int]) -> tuple[int, int]:
    """Return where the entries that differ begin and end. Both trees have the same length."""
    size = len(new)
    first = _longest(size, lambda length: old[:length] == new[:length])
    rest = _longest(size, lambda length: old[size - length :] == new[size - length :])
    end = bisect_left(starts, size - rest)
    return starts[bisect_right(starts, first) - 1], starts[end] if end < len(starts) else size


def _longest(most: int, is_same: Callable[[int], bool]) -> int:
    """Return the greatest length up to which two texts are the same."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if is_same(middle) else (low, middle - 1)
    return low


def _spans(tree: bytes, begin: int, end: int) -> list[tuple[int, int]]:
    return [entry.span() for entry in _ENTRY.finditer(tree, begin, end)]


def _by_name(entries: set[tuple[bytes, bytes, bytes]]) -> _Entries:
    return {name: (mode, blob.hex()) for mode, name, blob in entries}
