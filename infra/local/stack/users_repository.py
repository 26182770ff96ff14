"""A user's repository: what it must hold, and how its main reaches the laptop's forge."""

from __future__ import annotations

import subprocess
from pathlib import Path

from infra.local.forge.repository import Repository

REMOTE = "laptop"
"""The name of the laptop's forge among the remotes of the user's repository."""
_NEEDED = ("dags/models", "gitops/platform", "gitops/models/base")


class NotUsable(Exception):
    """The repository cannot be run; the message says what to do."""


def checked_repository(folder: Path) -> Path:
    """Return the repository's absolute path.

    Raises:
        NotUsable: It is no git repository, has no main, or lacks what `retrain init` writes.
    """
    missing = [name for name in _NEEDED if not (folder / name).is_dir()]
    if missing:
        raise NotUsable(
            f"{folder} has no {', no '.join(missing)}. Make a repository with"
            f" `retrain init {folder}`."
        )
    if not (folder / ".git").exists():
        raise NotUsable(
            f"{folder} is no git repository. Run `git -C {folder} init --initial-branch main`,"
            " and commit the files."
        )
    if _git(folder, "rev-parse", "--verify", "--quiet", "refs/heads/main").returncode != 0:
        raise NotUsable(
            f"{folder} has no commit on a branch main. Run `git -C {folder} add .` and"
            f" `git -C {folder} commit -m Start`, and name the branch main."
        )
    return folder.absolute()


def send_main(folder: Path, forge: Path) -> str:
    """Push main to the forge's bare repository, which is made when missing. Never force.

    Returns:
        What a person should know; empty when the forge has exactly main and its working tree.

    Raises:
        NotUsable: git could not push, or the remote's name is taken.
    """
    Repository(forge)
    found = _git(folder, "remote", "get-url", REMOTE)
    if found.returncode != 0:
        _git(folder, "remote", "add", REMOTE, str(forge))
    elif found.stdout.strip() != str(forge):
        raise NotUsable(
            f"The remote `{REMOTE}` of {folder} leads to another place than {forge}. Remove it by"
            f" `git -C {folder} remote remove {REMOTE}`, or rename it."
        )
    if _has_newer_commits(folder):
        return "the laptop's main has commits that yours lacks, such as merged releases"
    pushed = _git(folder, "push", "--quiet", REMOTE, "main:main")
    if pushed.returncode != 0:
        raise NotUsable(f"git could not push main of {folder}: {pushed.stderr.strip()}")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=all").stdout.splitlines()
    names = ", ".join(line[3:] for line in changed[:5])
    return f"not committed, so not on main: {names}" if changed else ""


def _has_newer_commits(folder: Path) -> bool:
    if _git(folder, "fetch", "--quiet", REMOTE, "main").returncode != 0:
        return False  # the forge has no main yet
    return _git(folder, "merge-base", "--is-ancestor", "FETCH_HEAD", "main").returncode != 0


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
    )
