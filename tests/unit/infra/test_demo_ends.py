"""The demo ends all of its programs, whichever signal comes and whoever gets it.

The story is replaced by one sleeping program. Makefile, command line, signals and the end are real.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SECONDS = 20
"""More than the demo may take to end: a busy machine must not fail a test."""

SHORT_DEMO = """
import os, sys, time
import infra.local.demo.__main__ as demo
from infra.local.processes import start

class ShortStory:
    def __init__(self, laptop, *_):
        self.laptop = laptop

    def tell(self):
        words = [sys.executable, "-c", os.environ["SLEEPER"]]
        sleeper = start("sleeper", words, log=self.laptop.folder / "sleeper.log")
        self.laptop.programs.append(sleeper)
        while not sleeper.log_tail():
            time.sleep(0.05)  # the test's timeout is the bound
        print("pids", os.getpid(), sleeper.process.pid, flush=True)

    def say_addresses(self):
        pass

demo.Story = ShortStory
sys.exit(demo.main(sys.argv[3:]))
"""


SLEEPER = "import time; print('ready', flush=True); time.sleep(63)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"


@dataclass(frozen=True)
class Running:
    """A short demo and who is who."""

    make: subprocess.Popen[str]
    demo: int
    sleeper: int

    def said(self) -> str:
        """Wait for the end and return what was printed."""
        return self.make.communicate(timeout=SECONDS)[0]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def has_ended(pid: int) -> bool:
    deadline = time.monotonic() + SECONDS
    while is_alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)  # bounded by the deadline
    return True


@contextmanager
def make_demo(folder: Path, sleeper: str, *options: str) -> Iterator[Running]:
    """`make demo` with the Makefile's own recipe, on a Python that tells the short story."""
    (folder / "short_demo.py").write_text(SHORT_DEMO)
    python = folder / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{folder / "short_demo.py"}" "$@"\n')
    python.chmod(0o755)
    outer_make = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    env = {name: value for name, value in os.environ.items() if name not in outer_make}
    arguments = f"ARGS=--folder {folder / 'state'} {' '.join(options)}"
    make = subprocess.Popen(
        ["make", "--old-file=.venv/.ready", f"BIN={python.parent}", arguments, "demo"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**env, "PYTHONPATH": str(ROOT), "SLEEPER": sleeper},
        start_new_session=True,
    )
    assert make.stdout is not None
    pids = [make.pid]
    try:
        words = next(line for line in make.stdout if line.startswith("pids ")).split()
        pids += map(int, words[1:])
        if "--exit" not in options:
            next(line for line in make.stdout if "Ctrl-C ends it" in line)
        yield Running(make, *pids[1:])
    finally:
        for pid in filter(is_alive, pids):
            os.kill(pid, signal.SIGKILL)
        make.communicate()


SENDERS: dict[str, Callable[[Running], None]] = {
    "SIGINT to make alone": lambda running: os.kill(running.make.pid, signal.SIGINT),
    "SIGHUP to make alone": lambda running: os.kill(running.make.pid, signal.SIGHUP),
    "SIGTERM to make alone": lambda running: os.kill(running.make.pid, signal.SIGTERM),
    "SIGKILL to make alone": lambda running: os.kill(running.make.pid, signal.SIGKILL),
    "SIGINT to the demo": lambda running: os.kill(running.demo, signal.SIGINT),
    "SIGTERM to the demo": lambda running: os.kill(running.demo, signal.SIGTERM),
    "SIGHUP to the demo": lambda running: os.kill(running.demo, signal.SIGHUP),
    "Ctrl-C, which both get": lambda running: os.killpg(running.make.pid, signal.SIGINT),
    "a closed terminal, which both get": lambda running: os.killpg(running.make.pid, signal.SIGHUP),
}


@pytest.mark.parametrize("send", SENDERS.values(), ids=SENDERS.keys())
def test_every_end_leaves_nothing_running(tmp_path: Path, send: Callable[[Running], None]) -> None:
    with make_demo(tmp_path, SLEEPER) as running:
        send(running)
        assert "ending" in running.said()
        assert has_ended(running.demo)
        assert not is_alive(running.sleeper)


def test_with_exit_the_demo_ends_by_itself(tmp_path: Path) -> None:
    with make_demo(tmp_path, SLEEPER, "--exit") as running:
        assert "Ctrl-C" not in running.said()
        assert running.make.returncode == 0
        assert not is_alive(running.sleeper)


def test_more_signals_do_not_break_off_an_end_that_has_begun(tmp_path: Path) -> None:
    with make_demo(tmp_path, STUBBORN) as running:  # takes 6 s to end, by SIGKILL
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(running.demo, number)
            time.sleep(0.2)  # so that each signal arrives by itself
        assert "Traceback" not in running.said()
        assert not is_alive(running.sleeper)


def test_a_demo_under_nohup_survives_its_terminal(tmp_path: Path) -> None:
    hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with make_demo(tmp_path, SLEEPER) as running:
            os.killpg(running.make.pid, signal.SIGHUP)
            time.sleep(1)  # longer than the demo takes to notice what make noticed
            assert is_alive(running.sleeper)
            os.kill(running.make.pid, signal.SIGINT)
            assert "ending" in running.said()
    finally:
        signal.signal(signal.SIGHUP, hangup)
