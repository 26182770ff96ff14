"""Starts a real program, waits until it answers, and ends it with all of its children."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType


class DidNotStart(RuntimeError):
    """A program ended, or did not answer in time; the message carries the end of its log."""


_PR_SET_CHILD_SUBREAPER = 36
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SECONDS_BETWEEN_LOOKS = 0.25
"""At make: an end by Ctrl-C should feel immediate, and a look costs 20 microseconds."""


@dataclass(frozen=True)
class Program:
    """A running program in a process group of its own."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def is_running(self) -> bool:
        """True until the program itself has ended."""
        return self.process.poll() is None

    def log_tail(self, lines: int = 20) -> str:
        """The end of what the program wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, *, grace_seconds: float = 8.0) -> None:
        """End the whole group: SIGTERM, then SIGKILL to what is left after `grace_seconds`."""
        stop_all([self], grace_seconds=grace_seconds)

    def signal(self, number: int) -> None:
        """Send a signal to the whole group; one that is gone already is fine."""
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass


def stop_all(programs: Sequence[Program], *, grace_seconds: float = 8.0) -> None:
    """End programs together: SIGTERM to each group, and SIGKILL after `grace_seconds` for all."""
    deadline = time.monotonic() + grace_seconds
    for program in programs:
        program.signal(signal.SIGTERM)
    for program in programs:
        try:
            program.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            pass
        program.signal(signal.SIGKILL)
        program.process.wait()


def interrupt_on_ending_signals() -> None:
    """Raise KeyboardInterrupt in the main thread on the first ending signal. Ignore later ones.

    SIGINT is set too, because a shell starts background jobs with SIGINT ignored. Under nohup
    SIGHUP stays ignored.
    Make is followed: a signal that make alone gets, or make's death, counts as SIGINT.
    """
    for number in ENDING_SIGNALS:
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    parent = os.getppid()
    if _is_make(parent):
        threading.Thread(target=_follow, args=(parent,), name="follow make", daemon=True).start()


def ignore_ending_signals() -> None:
    """Ignore ending signals from now on, so that the end completes.

    Programs that we start later do not inherit this handler. They would inherit SIG_IGN.
    """
    for number in ENDING_SIGNALS:
        signal.signal(number, _do_nothing)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """The end is on its way."""


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    ignore_ending_signals()
    raise KeyboardInterrupt


def _is_make(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() in {"make", "gmake"}
    except FileNotFoundError:
        return False


def _follow(make: int) -> None:
    """Interrupt the main thread when make is gone or was interrupted.

    Make sends its child SIGTERM only. On SIGINT or SIGHUP make waits for the child to end.
    We see that make no longer catches the signal: its handler has restored the default.
    """
    caught = _caught_signals(make)
    while os.getppid() == make and _caught_signals(make) == caught:
        time.sleep(_SECONDS_BETWEEN_LOOKS)  # nobody reports another process's signals
    if signal.getsignal(signal.SIGINT) is _interrupt:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def _caught_signals(pid: int) -> int:
    """Return as bits which of SIGINT and SIGHUP the process handles; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    mask = int(status.partition("SigCgt:")[2].split()[0], 16)
    return mask & sum(1 << (number - 1) for number in (signal.SIGINT, signal.SIGHUP))


def adopt_orphans() -> None:
    """Become the parent of orphans of our programs, so that `end_descendants` finds them."""
    if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError("prctl(PR_SET_CHILD_SUBREAPER) was refused")


def end_descendants() -> None:
    """Kill every process below us; complete only after `adopt_orphans`."""
    while below := _descendants(os.getpid()):
        for pid in below:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            while os.waitpid(-1, 0)[0]:
                pass
        except ChildProcessError:
            pass


def _descendants(root: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{root}/task").glob("*/children"):
        try:
            children = [int(pid) for pid in task.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
        for child in children:
            found += [child, *_descendants(child)]
    return found


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """True when a program could listen on this port of 127.0.0.1 at this moment."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do after an end
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def start(
    name: str,
    command: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Program:
    """Start a program; `env` is added to ours.

    The program gets SIGTERM when the thread that started it ends, so it ends with us even after
    a kill -9. Call this from a thread that stays.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            start_new_session=True,
        )
    return Program(name, process, log)


def wait_until_answers(program: Program, url: str, *, timeout_seconds: float = 90.0) -> None:
    """Return when `url` answers 2xx.

    Raises:
        DidNotStart: The program ended, or the time is over.
    """
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        if not program.is_running:
            raise DidNotStart(
                f"{program.name} ended with code {program.process.returncode} before it answered"
                f" {url}:\n{program.log_tail()}"
            )
        if _answers(url):
            return
        time.sleep(0.1)  # the only way to learn of a foreign program's readiness is to ask again
    raise DidNotStart(
        f"{program.name} did not answer {url} within {timeout_seconds:.0f} s:\n{program.log_tail()}"
    )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return 200 <= int(response.status) < 300
    except (urllib.error.URLError, OSError):
        return False
