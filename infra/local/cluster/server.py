"""One server process: start from an image, readiness, drain, end.

Nothing here waits. The owner asks again.
"""

from __future__ import annotations

import shutil
import signal
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from infra.local.cluster.desired import Workload
from infra.local.cluster.images import pull
from infra.local.processes import Program, free_port, start

PROBE_TIMEOUT_SECONDS = 2.0
GRACE_SECONDS = 7.0
"""From SIGTERM to SIGKILL: all of the cluster ends within 8 s."""


class Server(Protocol):
    """A server as a rollout sees it."""

    url: str

    def is_running(self) -> bool:
        """False once the process has ended."""

    def is_ready(self) -> bool:
        """True when it says now that it can answer."""

    def last_words(self) -> str:
        """The last line of its log; empty while there is none."""

    def end(self) -> None:
        """Ask it to finish what is in flight and end."""

    def kill(self) -> None:
        """End what is left of it."""


class Starter(Protocol):
    """Starts servers; a fake one in unit tests."""

    def start(self, workload: Workload) -> Server:
        """Start a server of this release.

        Raises:
            ImageUnusable: Its image cannot be had.
            OSError: This machine cannot start it.
        """


@dataclass
class ProcessServer:
    """A `python -m serving` on a port of its own."""

    url: str
    program: Program
    home: Path

    def is_running(self) -> bool:
        """See Server."""
        return self.program.is_running

    def is_ready(self) -> bool:
        """See Server."""
        try:
            with urllib.request.urlopen(
                f"{self.url}/readyz", timeout=PROBE_TIMEOUT_SECONDS
            ) as answer:
                return int(answer.status) == 200
        except (urllib.error.URLError, OSError):
            return False

    def last_words(self) -> str:
        """See Server."""
        written = [line.strip() for line in self.program.log_tail().splitlines() if line.strip()]
        how = (
            ""
            if self.program.is_running
            else f" (ended with code {self.program.process.returncode})"
        )
        return written[-1] + how if written else how.strip(" ()")

    def end(self) -> None:
        """See Server."""
        self.program.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """See Server."""
        self.program.stop(grace_seconds=0)
        shutil.rmtree(self.home / "model", ignore_errors=True)  # the log stays, for people


class ProcessStarter:
    """Starts servers as processes, from a thread that stays (see infra/local/processes.py)."""

    def __init__(self, images: Path, folder: Path) -> None:
        self._images, self._folder = images, folder
        self._started = 0

    def start(self, workload: Workload) -> ProcessServer:
        """See Starter."""
        self._started += 1
        home = self._new_folder(workload)
        pull(self._images, workload.release.image, home / "model")
        port = free_port()
        environment = {
            "SERVING_MODEL_FOLDER": str(home / "model"),
            "SERVING_MODEL_DIGEST": workload.release.model_digest,
            "SERVING_VERSION": str(workload.release.version),
            "SERVING_IMAGE_DIGEST": workload.image_digest,
            "SERVING_HOST": "127.0.0.1",
            "SERVING_PORT": str(port),
            "HOME": str(home),
            "BENTOML_HOME": str(home / "bentoml"),
        }
        program = start(
            f"{workload.name} v{workload.release.version}",
            [sys.executable, "-m", "serving"],
            log=home / "log.txt",
            env=environment,
            cwd=home,
        )
        return ProcessServer(f"http://127.0.0.1:{port}", program, home)

    def _new_folder(self, workload: Workload) -> Path:
        while (
            home := self._folder / f"{workload.name}-v{workload.release.version}-{self._started}"
        ).exists():
            self._started += 1  # of an earlier run of this cluster
        home.mkdir(parents=True)
        return home
