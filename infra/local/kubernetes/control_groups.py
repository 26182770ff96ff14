"""The control group of the kubelet's pods: made before the kubelet, removed after the last pod."""

from __future__ import annotations

import os
import time
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_CONTROLLERS = ("cpu", "cpuset", "memory", "pids", "hugetlb")
"""Controllers of a version 2 group. When the kernel has one and the group lacks it, the kubelet

says that the group does not exist.
"""


def create(name: str, root: Path = _ROOT) -> None:
    """Make the group in every hierarchy: one with version 2, one a controller with version 1."""
    for hierarchy in _hierarchies(root):
        if hierarchy == root:  # version 2 alone, not beside version 1
            _pass_on_controllers(hierarchy)
        (hierarchy / name).mkdir(exist_ok=True)


def remove(name: str, root: Path = _ROOT, *, timeout_seconds: float = 5.0) -> bool:
    """Remove the group and all below it. False when a process stayed until the time ended."""
    deadline = time.monotonic() + timeout_seconds
    while remaining := [
        hierarchy / name for hierarchy in _hierarchies(root) if (hierarchy / name).exists()
    ]:
        for group in remaining:
            _remove_tree(group)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)  # a killed process leaves its group a moment later
    return True


def _hierarchies(root: Path) -> list[Path]:
    if (root / "cgroup.controllers").exists():
        return [root]
    return [
        entry
        for entry in sorted(root.iterdir())
        if (entry / "cgroup.procs").exists() and not entry.is_symlink()
    ]


def _pass_on_controllers(hierarchy: Path) -> None:
    """Let groups below the root have the controllers; most machines' init did so already."""
    available = (hierarchy / "cgroup.controllers").read_text().split()
    passed_on = (hierarchy / "cgroup.subtree_control").read_text().split()
    for controller in _CONTROLLERS:
        if controller in available and controller not in passed_on:
            (hierarchy / "cgroup.subtree_control").write_text(f"+{controller}")


def _remove_tree(group: Path) -> None:
    for folder, _names, _files in os.walk(group, topdown=False):
        try:
            Path(folder).rmdir()
        except OSError:
            pass  # busy, or gone: asked again
