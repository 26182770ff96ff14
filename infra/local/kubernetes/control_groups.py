"""The control group below which the kubelet puts its pods; made before it, removed after the last pod."""

from __future__ import annotations

import os
import time
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def create(name: str, root: Path = _ROOT) -> None:
    """Make the group in every hierarchy: one with version 2, one a controller with version 1."""
    for hierarchy in _hierarchies(root):
        (hierarchy / name).mkdir(exist_ok=True)


def remove(name: str, root: Path = _ROOT, *, timeout_seconds: float = 5.0) -> bool:
    """Remove the group and all below it; False when a process held one of them until the end of the time."""
    deadline = time.monotonic() + timeout_seconds
    while remaining := [hierarchy / name for hierarchy in _hierarchies(root) if (hierarchy / name).exists()]:
        for group in remaining:
            _remove_tree(group)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)  # a killed process leaves its group a moment later
    return True


def _hierarchies(root: Path) -> list[Path]:
    if (root / "cgroup.controllers").exists():
        return [root]
    return [entry for entry in sorted(root.iterdir()) if (entry / "cgroup.procs").exists() and not entry.is_symlink()]


def _remove_tree(group: Path) -> None:
    for folder, _names, _files in os.walk(group, topdown=False):
        try:
            Path(folder).rmdir()
        except OSError:
            pass  # busy, or gone: asked again
