"""What this machine lacks for a cluster of its own, and how to get it. Asked before any start."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from infra.local.kubernetes.errors import MachineLacks

BUILD_GIB = 8
"""Go's module and build caches (6 GB) and the programs (0.6 GB)."""
RUN_GIB = 3
GO_VERSION = (1, 26)
_PROGRAMS = {
    "containerd": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "runc": "runc",
    "docker-registry": "docker-registry",
    "ip": "iproute2",
    "iptables": "iptables",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "git": "git",
}
_PLUGIN_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
_PLUGINS = ("loopback", "ptp", "host-local")


def check_build(cache: Path) -> None:
    """Say what a build needs and does not find.

    Raises:
        MachineLacks: Go is missing or too old, or the disk is too full.
    """
    _refuse([*go_problems(), *_disk_problems(cache, BUILD_GIB)])


def check_run(folder: Path) -> None:
    """Say what a running cluster needs and does not find.

    Raises:
        MachineLacks: Not Linux, not root, packages or disk are missing.
    """
    _refuse([*_right_problems(), *_package_problems(), *_disk_problems(folder, RUN_GIB)])


def plugin_folder() -> Path:
    """Return where the container network plugins lie.

    Raises:
        MachineLacks: Nowhere.
    """
    for folder in _PLUGIN_FOLDERS:
        if all((folder / plugin).exists() for plugin in _PLUGINS):
            return folder
    raise MachineLacks(
        f"no container network plugins in {' or '.join(map(str, _PLUGIN_FOLDERS))}: apt-get"
        " install containernetworking-plugins"
    )


def _refuse(problems: list[str]) -> None:
    if problems:
        raise MachineLacks(
            "this machine lacks, for a cluster of its own:\n"
            + "\n".join(f"  - {problem}" for problem in problems)
        )


def go_problems() -> list[str]:
    """Return what is wrong with this machine's Go, in sentences; none when it can build."""
    wanted = ".".join(map(str, GO_VERSION))
    where = shutil.which("go")
    if where is None:
        return [
            f"Go {wanted} or newer: https://go.dev/dl, unpacked to /usr/local/go,"
            " /usr/local/go/bin in PATH"
        ]
    said = subprocess.run(
        [where, "env", "GOVERSION"], capture_output=True, text=True, check=False
    ).stdout.strip()
    found = re.match(r"go(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < GO_VERSION:
        return [f"Go {wanted} or newer (found: {said or 'no version'}): https://go.dev/dl"]
    return []


def _right_problems() -> list[str]:
    problems = []
    if sys.platform != "linux":
        problems.append("Linux: its namespaces and control groups are what a node is made of")
    if os.geteuid() != 0:
        problems.append("root, for namespaces and control groups: sudo -E make cluster-up")
    if not Path("/sys/fs/cgroup").is_dir():
        problems.append("control groups: mount them on /sys/fs/cgroup")
    return problems


def _package_problems() -> list[str]:
    packages = {
        package: name
        for name, package in _PROGRAMS.items()
        if shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None
    }
    try:
        plugin_folder()
    except MachineLacks:
        packages["containernetworking-plugins"] = ", ".join(_PLUGINS)
    if not packages:
        return []
    return [
        f"{', '.join(packages.values())}: apt-get install --no-install-recommends"
        f" {' '.join(sorted(packages))}"
    ]


def _disk_problems(folder: Path, needed_gib: int) -> list[str]:
    existing = next(
        parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists()
    )
    free_gib = shutil.disk_usage(existing).free / 2**30
    return (
        [
            f"disk: {free_gib:.1f} GiB are free in {existing}, {needed_gib} are needed"
            " (RATCHET_CACHE names another place)"
        ]
        if free_gib < needed_gib
        else []
    )
