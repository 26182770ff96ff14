"""Namespaces of the cluster's own. Their links, mounts and processes end with their first process.

The first process dies with its parent (`unshare --kill-child`). The parent dies with the
supervisor (`setpriv --pdeathsig`):
a supervisor killed with -9 leaves nothing behind.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from infra.local.kubernetes.errors import CouldNotStart
from infra.local.processes import Program, start

_Answer = TypeVar("_Answer")
_CLONE_NEWNET = 0x40000000
_EXPECTED_TUNABLES = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}
"""Values that the kubelet would set for the whole machine.

The kubelet sees them in files over the real ones, in its namespace only.
"""


@dataclass(frozen=True)
class Room:
    """The namespaces, held by `init`."""

    program: Program
    init: int
    """Process id of the first process, as the host counts."""
    asking: ThreadPoolExecutor
    """Threads that live in the room's network."""

    def inside(self, *command: str) -> list[str]:
        """Return the command that runs `command` in the room."""
        return ["nsenter", "--target", str(self.init), "--net", "--mount", "--pid", "--", *command]

    def path(self, path: str) -> Path:
        """Return where the host sees an absolute path of the room."""
        return Path(f"/proc/{self.init}/root{path}")

    def ask(self, question: Callable[[], _Answer]) -> _Answer:
        """Return what `question` returns in the room's network, where 127.0.0.1 is the room."""
        return self.asking.submit(question).result()


def open_room(folder: Path, pause: Path) -> Room:
    """Make the namespaces; `folder` gets what programs inside write to /var/lib and /var/log.

    Raises:
        CouldNotStart: The kernel refused one.
    """
    ready = folder / "room-is-ready"
    ready.unlink(missing_ok=True)
    unshare = [
        "unshare",
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child=KILL",
        "--mount-proc",
        "--propagation",
        "slave",
    ]
    # unshare ignores SIGTERM, which `start` asks for: the last --pdeathsig counts
    command = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        *unshare,
        "sh",
        "-euc",
        _furnish(folder, ready, pause),
    ]
    program = start("room", command, log=folder / "logs" / "room.log")
    deadline = time.monotonic() + 10
    while not ready.exists():
        if not program.is_running or time.monotonic() > deadline:
            raise CouldNotStart(f"the kernel gave no namespaces of our own:\n{program.log_tail()}")
        time.sleep(0.02)  # the script says when it is done by a file
    init = int(
        Path(f"/proc/{program.process.pid}/task/{program.process.pid}/children")
        .read_text()
        .split()[0]
    )
    return Room(
        program,
        init,
        ThreadPoolExecutor(max_workers=2, initializer=_enter_network, initargs=(init,)),
    )


def _furnish(folder: Path, ready: Path, pause: Path) -> str:
    """Return the shell script that makes private mounts and becomes the first process."""
    lines = ["mount --make-rshared /", "mount -t tmpfs -o mode=755 tmpfs /run"]
    for target in ("/var/lib", "/var/log"):
        source = folder / target.strip("/").replace("/", "-")
        source.mkdir(parents=True, exist_ok=True)
        lines.append(f"mount --bind {shlex.quote(str(source))} {target}")
    tunables = folder / "tunables"
    tunables.mkdir(exist_ok=True)
    for name, value in _EXPECTED_TUNABLES.items():
        expected = tunables / name.replace("/", "-")
        expected.write_text(f"{value}\n")
        lines.append(
            f"[ ! -e /proc/sys/{name} ] || mount --bind {shlex.quote(str(expected))}"
            f" /proc/sys/{name}"
        )
    lines += [
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        f"touch {shlex.quote(str(ready))}",
        f"exec {shlex.quote(str(pause))}",
    ]
    return "\n".join(lines)


def _enter_network(pid: int) -> None:
    """Move the calling thread, and no other, into the network of `pid`."""
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(namespace, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"no way into the network of process {pid}")
    finally:
        os.close(namespace)
