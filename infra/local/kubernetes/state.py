"""The state of a running cluster, in `state.json`, for the other commands and for programs."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Phase = Literal["starting", "ready", "failed"]


@dataclass
class ComponentState:
    """One program of the cluster."""

    pid: int
    """On the host, of the group that is signalled."""
    is_running: bool = True
    restarts: int = 0


@dataclass
class State:
    """Written by the supervisor only."""

    supervisor: int
    phase: Phase = "starting"
    message: str = ""
    """What is being done, or why it failed."""
    seconds: float = 0.0
    """From the start to ready."""
    network: int | None = None
    room: int | None = None
    """Process id of the namespaces' first process."""
    components: dict[str, ComponentState] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Replace the file in one step."""
        partial = folder / "state.json.partial"
        partial.write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")
        partial.rename(folder / "state.json")


def read_state(folder: Path) -> State | None:
    """Return what was written last; None when nothing was."""
    try:
        content: dict[str, Any] = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    components = {
        name: ComponentState(**values) for name, values in content.pop("components").items()
    }
    return State(**content, components=components)


def is_supervisor(pid: int, folder: Path) -> bool:
    """True when `pid` is alive and supervises `folder`: process ids are used again."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return (
        "supervise" in words
        and str(folder) in words
        and status.rpartition(")")[2].split()[0] != "Z"
    )


def is_room(pid: int) -> bool:
    """True when `pid` is the first process of namespaces that we made."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0")
        return (
            words.endswith("/pause")
            and Path(f"/proc/{pid}/ns/pid").readlink() != Path("/proc/self/ns/pid").readlink()
        )
    except OSError:
        return False


def remove_contents(folder: Path) -> None:
    """Remove a cluster's data. Logs, configuration and state stay, so that people can read them."""
    for name in ("etcd", "registry", "var-lib", "tmp", "tunables", "pki", "hold", "source"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("kubeconfig", "room-is-ready"):
        (folder / name).unlink(missing_ok=True)
