"""Says which commit an image's content comes from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from infra.images.programs import said


def revision_of(paths: Sequence[Path], root: Path) -> str:
    """Return the last commit that changed any of the paths, with `-dirty` where they hold more than it.

    A commit that changes other files only is not named: it would make another image of the same content.
    Outside of a git repository, as in an unpacked archive, it is `unknown`.

    Args:
        paths: Files and folders below `root`.
        root: Of the repository.

    Raises:
        ProgramFailed: git is missing, or does not read the repository.
    """
    if not (root / ".git").exists():
        return "unknown"
    within = ("git", "-C", str(root))
    these = ("--", *(str(path.relative_to(root)) for path in paths))
    commit = said(*within, "log", "-1", "--format=%H", *these) or "unknown"
    return f"{commit}-dirty" if said(*within, "status", "--porcelain", *these) else commit
