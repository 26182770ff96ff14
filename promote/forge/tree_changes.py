"""Which files differ between two git trees, read from the trees' bytes.

libgit2's own comparison takes 3.5 ms for a folder of 1,000 entries: 70 s for a walk over 20,000
commits. Neighbouring commits differ in one entry. So this file compares bytes first, and parses
only the entries that differ.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator

import numpy

_ENTRY = re.compile(rb"(\d+) ([^\0]+)\0(.{20})", re.DOTALL)
_FOLDER = b"40000"
_FILES = (b"100644", b"100755")
_SHORT_BYTES = 2000
"""Below it, parsing all entries is faster than a search for the difference."""
_ABSENT = (b"", "")
_Entries = dict[bytes, tuple[bytes, str]]
"""Mode and object id by name."""


class TreeChanges:
    """Compares trees, fastest when a walk goes from new commits to old ones."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        """Keep how to read the bytes of a tree by its id."""
        self._read = read
        self._starts: dict[str, list[int]] = {}
        """Where the entries of a large tree begin: the older one of the last comparison."""

    def between(
        self, older: str | None, newer: str | None, folder: str = ""
    ) -> Iterator[tuple[str, str | None]]:
        """Yield path and blob id of each file whose bytes differ, as the newer tree has it.

        The id is None when the newer tree has no file there. None stands for an empty tree.
        """
        if older == newer:
            return
        before, after = self._unlike(older, newer)
        for name in sorted({*before, *after}):
            path = f"{folder}{name.decode(errors='surrogateescape')}"
            old_mode, old_id = before.get(name, _ABSENT)
            new_mode, new_id = after.get(name, _ABSENT)
            old_tree = old_id if old_mode == _FOLDER else None
            new_tree = new_id if new_mode == _FOLDER else None
            yield from self.between(old_tree, new_tree, f"{path}/")
            is_new_file = new_mode not in {b"", _FOLDER}
            is_old_file = old_mode not in {b"", _FOLDER}
            if old_id != new_id and (is_new_file or is_old_file):
                yield path, new_id if new_mode in _FILES else None

    def _unlike(self, older: str | None, newer: str | None) -> tuple[_Entries, _Entries]:
        """Return the entries that only the older and only the newer tree has."""
        old = self._read(older) if older else b""
        new = self._read(newer) if newer else b""
        begin, end = 0, max(len(old), len(new))
        if older and newer and len(old) == len(new) > _SHORT_BYTES:
            starts = self._starts.pop(newer, None)
            starts = starts or [entry.start() for entry in _ENTRY.finditer(new)]
            first, last = _region(old, new, starts)
            if _spans(old, first, last) == _spans(new, first, last):
                begin, end = first, last
                self._starts[older] = starts
        before, after = (set(_ENTRY.findall(tree, begin, end)) for tree in (old, new))
        return _by_name(before - after), _by_name(after - before)


def _region(old: bytes, new: bytes, starts: list[int]) -> tuple[int, int]:
    """Return where the entries that differ begin and end. Both trees have the same length."""
    differs = numpy.frombuffer(old, numpy.uint8) != numpy.frombuffer(new, numpy.uint8)
    first, last = int(differs.argmax()), len(new) - 1 - int(differs[::-1].argmax())
    end = bisect_right(starts, last)
    return starts[bisect_right(starts, first) - 1], starts[end] if end < len(starts) else len(new)


def _spans(tree: bytes, begin: int, end: int) -> list[tuple[int, int]]:
    return [entry.span() for entry in _ENTRY.finditer(tree, begin, end)]


def _by_name(entries: set[tuple[bytes, bytes, bytes]]) -> _Entries:
    return {name: (mode, blob.hex()) for mode, name, blob in entries}
