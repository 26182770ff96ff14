"""Programs of the laptop end, whatever ends their starter."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.local.processes import DidNotStart, free_port, start, stop_all, wait_until_answers

ROOT = Path(__file__).parents[3]

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('ready', flush=True); time.sleep(60)"
)
LEAVES_AN_ORPHAN = (
    "import subprocess, sys; "
    "print(subprocess.Popen(['sleep', '61'], start_new_session=True).pid, flush=True)"
)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for_line(log: Path) -> str:
    for _ in range(100):
        if log.exists() and log.read_text().endswith("\n"):
            return log.read_text().strip()
        time.sleep(0.05)  # bounded by the range above
    raise AssertionError(f"{log} stayed empty")


def test_a_program_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    programs = [
        start(
            f"stubborn {number}", [sys.executable, "-c", STUBBORN], log=tmp_path / f"{number}.log"
        )
        for number in range(3)
    ]
    for number in range(3):
        wait_for_line(tmp_path / f"{number}.log")
    began = time.monotonic()
    stop_all(programs, grace_seconds=0.5)
    assert time.monotonic() - began < 3  # together, not one after the other
    assert not any(is_alive(program.process.pid) for program in programs)


def test_a_program_that_ends_early_is_reported_with_its_last_words(tmp_path: Path) -> None:
    program = start(
        "poor",
        [sys.executable, "-c", "import sys; sys.exit('no such table: flights')"],
        log=tmp_path / "log",
    )
    with pytest.raises(DidNotStart, match="no such table: flights"):
        wait_until_answers(program, f"http://127.0.0.1:{free_port()}/", timeout_seconds=20)


def test_programs_die_with_a_starter_that_is_killed_with_9(tmp_path: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from infra.local.processes import start
log = Path({str(tmp_path / "log")!r})
print(start("sleeper", ["sleep", "62"], log=log).process.pid, flush=True)
time.sleep(60)
"""
    starter = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    time.sleep(0.3)  # until setpriv has become sleep
    starter.kill()
    starter.wait()
    starter.stdout.close()
    for _ in range(100):
        if not is_alive(pid):
            return
        time.sleep(0.05)  # bounded by the range above
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the program outlived its starter")


def test_what_programs_leave_behind_is_found_and_ended(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from infra.local.processes import adopt_orphans, end_descendants, start
adopt_orphans()
log = Path({str(tmp_path / "log")!r})
start("careless", [{sys.executable!r}, "-c", {LEAVES_AN_ORPHAN!r}], log=log).process.wait()
end_descendants()
"""
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=30,
    )
    assert not is_alive(int(wait_for_line(tmp_path / "log")))
