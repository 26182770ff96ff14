"""`python -m serving`: the BentoML service in one process, without BentoML's supervisor.

Kubernetes or the local cluster is the supervisor. BentoML's own supervisor (`bentoml serve
serving.service:Server`) restarts a crashing server, so the cluster does not see the crash. When
the supervisor is killed, its server stays on the port.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, cast

import uvicorn

from retrain import __version__
from retrain.environment import SettingsRefused, settings_help
from retrain.errors import ModelRefused
from serving.settings import PREFIX, Settings

ABOUT = """The model server: verifies one model folder and answers blocks of rows.
The gateway is its only caller. It runs until SIGTERM, then answers the calls in flight."""
EXIT_CODES = """Exit codes:
  1    the model or the settings are refused, or the address cannot be used: the last line of the
       log says why
  2    wrong arguments
  143  ended by SIGTERM, after the answers in flight"""
KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep an idle connection, so the client closes first, never during a call."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM and return the exit code; EXIT_CODES lists them."""
    _parse(arguments)
    # BentoML takes seconds to load: --help and wrong arguments answer without it
    from serving.service import Server, load  # noqa: PLC0415

    try:
        settings, _ = load()
    except ModelRefused as refusal:
        return _fail(f"{type(refusal).__name__}: {refusal}")
    except SettingsRefused as refusal:
        return _fail(f"the settings are wrong: {refusal}")
    # bentoml.service made Server a Service; mypy sees only the class below the decorator
    application = cast("Any", Server).to_asgi()
    config = uvicorn.Config(
        application,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.drain_seconds,
    )
    server = uvicorn.Server(config)
    server.run()
    return 0 if server.started else 1


def _fail(reason: str) -> int:
    """Write one line, because the cluster reports the last line of the log."""
    sys.stderr.write(f"{reason}\n")
    return 1


def _parse(arguments: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m serving",
        description=ABOUT,
        epilog=f"{settings_help(Settings, prefix=PREFIX)}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ratchet {__version__}")
    parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
