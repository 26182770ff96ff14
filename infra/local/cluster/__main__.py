"""The command line and the loop."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from infra.local.cluster.api import serve
from infra.local.cluster.controller import Controller
from infra.local.cluster.rollout import Timing
from infra.local.cluster.server import GRACE_SECONDS, ProcessStarter
from infra.local.cluster.source import Source
from infra.local.processes import ENDING_SIGNALS

TICK_SECONDS = 0.2


def main() -> int:
    """Run until SIGTERM or Ctrl-C, then end every server within 8 s."""
    options = _parser().parse_args()
    folder: Path = options.folder.resolve()
    timing = Timing(
        min_ready_seconds=options.min_ready_seconds,
        deadline_seconds=options.deadline_seconds,
        drain_seconds=options.drain_seconds,
    )
    controller = Controller(
        environment=options.environment,
        starter=ProcessStarter(options.images.resolve(), folder / "servers"),
        timing=timing,
        endpoints=options.endpoints.resolve(),
        folder=folder,
        journal=_say,
        most_replicas=options.most_replicas,
    )
    source = Source(options.repository, options.branch, folder / "repository.git")
    try:
        api = serve(options.port, lambda: controller.pages)
    except OSError as problem:
        sys.stderr.write(
            f"port {options.port} of 127.0.0.1 cannot be used: {problem.strerror}. Choose another"
            " with --port.\n"
        )
        return 1
    _loop(controller, source)
    _say("ends all servers")
    api.shutdown()
    return 0


def _loop(controller: Controller, source: Source) -> None:
    stop = threading.Event()
    for number in ENDING_SIGNALS:
        signal.signal(number, lambda *_: stop.set())
    source.start()
    try:
        while not stop.is_set():
            controller.step(source.latest, time.monotonic(), source_problem=source.problem)
            stop.wait(TICK_SECONDS)
    finally:
        source.stop()
        _end(controller)


def _end(controller: Controller) -> None:
    controller.end_all()
    deadline = time.monotonic() + GRACE_SECONDS
    while controller.anything_runs() and time.monotonic() < deadline:
        time.sleep(0.05)  # bounded by GRACE_SECONDS
    controller.kill_all()


def _say(sentence: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {sentence}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.local.cluster",
        description="Runs on this machine what gitops/ on main wants.",
    )
    parser.add_argument("--repository", required=True, help="URL or folder of the git repository")
    parser.add_argument("--branch", default="main")
    parser.add_argument("--environment", default="production", help="folder below gitops/clusters")
    parser.add_argument(
        "--images",
        required=True,
        type=Path,
        help="folder with one OCI layout for each image repository",
    )
    parser.add_argument(
        "--folder",
        required=True,
        type=Path,
        help="state of this cluster: its clone, the servers' logs",
    )
    parser.add_argument(
        "--port", required=True, type=int, help="of the Kubernetes-shaped API on 127.0.0.1"
    )
    parser.add_argument(
        "--endpoints", required=True, type=Path, help="file that the gateway follows"
    )
    parser.add_argument(
        "--min-ready-seconds",
        type=float,
        default=3.0,
        help="how long a server must stay ready before it serves",
    )
    parser.add_argument(
        "--deadline-seconds",
        type=float,
        default=60.0,
        help="after which a rollout is reported failed",
    )
    parser.add_argument(
        "--drain-seconds",
        type=float,
        default=1.5,
        help="from the switch to SIGTERM; longer than the gateway takes to follow the file",
    )
    parser.add_argument(
        "--most-replicas",
        type=int,
        default=1,
        help="the most servers of a model; one machine gains nothing by more",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
