"""The commit of an image's content."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from infra.images.programs import said


def revision_of(paths: Sequence[Path], root: Path) -> str:
    """Return the last commit that changed any of the paths.

    `-dirty` follows when the paths have uncommitted changes. A later commit of other files does not
    count, since it would give the same content another image. Outside of a git repository, as in an
    unpacked archive, the result is `unknown`.

    Args:
        paths: Files and folders below `root`.
        root: Of the repository.

    Raises:
        ProgramFailed: git is missing, or cannot read the repository.
    """
    if not (root / ".git").exists():
        return "unknown"
    within = ("git", "-C", str(root))
    these = ("--", *(str(path.relative_to(root)) for path in paths))
    commit = said(*within, "log", "-1", "--format=%H", *these) or "unknown"
    return f"{commit}-dirty" if said(*within, "status", "--porcelain", *these) else commit
