"""What differs between two trees: a file's status, counts and patch, as GitHub lists them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from infra.local.forge.repository import ABSENT, Repository

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_STATUS = {
    "A": "added",
    "D": "removed",
    "M": "modified",
    "R": "renamed",
    "C": "copied",
    "T": "changed",
}


@dataclass(frozen=True)
class FileChange:
    """One file's difference; `patch` is None for a binary file."""

    filename: str
    previous: str | None
    status: str
    sha: str | None
    """The blob after the change, before it for a removed file."""
    additions: int
    deletions: int
    patch: str | None


@dataclass(frozen=True)
class DiffLine:
    """One line of a patch with its numbers before and after; `mark` is `+`, `-`, a space or `@`."""

    mark: str
    old: int | None
    new: int | None
    text: str


def changes_between(repository: Repository, old: str, new: str) -> list[FileChange]:
    """The files that differ between two commits or trees, in order of path."""
    raw = (
        repository.git("diff-tree", "-r", "-M", "-z", "--raw", "--abbrev=40", old, new)
        .decode(errors="replace")
        .split("\0")[:-1]
    )
    patches = repository.git("diff-tree", "-r", "-M", "-p", old, new).decode(errors="replace")
    texts = iter(re.split(r"^diff --git .*\n", patches, flags=re.MULTILINE)[1:])
    changes, words = [], iter(raw)
    for word in words:
        _, _, before, after, letter = word.split(" ")
        path = next(words)
        previous = path if letter[0] in "RC" else None
        changes.append(
            _change(
                next(words) if previous else path,
                previous,
                letter[0],
                before if after == ABSENT else after,
                next(texts),
            )
        )
    return changes


def _change(path: str, previous: str | None, letter: str, sha: str, text: str) -> FileChange:
    start = text.find("@@ ")
    patch = text[start:].removesuffix("\n") if start >= 0 else None
    marks = [line[:1] for line in (patch or "").splitlines()]
    return FileChange(
        path,
        previous,
        _STATUS.get(letter, "changed"),
        sha,
        marks.count("+"),
        marks.count("-"),
        patch,
    )


def diff_lines(patch: str) -> list[DiffLine]:
    r"""Number the lines of a patch.

    >>> [(line.mark, line.old, line.new, line.text) for line in diff_lines("@@ -1 +1,2 @@\n a\n+b")]
    [('@', None, None, '@@ -1 +1,2 @@'), (' ', 1, 1, 'a'), ('+', None, 2, 'b')]
    """
    lines, old, new = [], 0, 0
    for line in patch.split("\n"):
        if hunk := re.match(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@", line):
            old, new = int(hunk[1]), int(hunk[2])
            lines.append(DiffLine("@", None, None, line))
            continue
        mark, text = line[:1] or " ", line[1:]
        lines.append(
            DiffLine(mark, old if mark in " -" else None, new if mark in " +" else None, text)
        )
        old, new = old + (mark in " -"), new + (mark in " +")
    return lines
