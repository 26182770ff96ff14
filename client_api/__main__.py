"""`python -m client_api`: the gateway under uvicorn, at the address of its settings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import uvicorn

from client_api.app import create_app
from client_api.settings import PREFIX, Settings, read_settings
from retrain import __version__
from retrain.environment import SettingsRefused, settings_help

ABOUT = """The gateway: callers ask here by name of the model, and model servers answer.
It checks keys and rows, joins the rows of many callers into blocks, and hides rollouts.
It runs until SIGTERM. /docs describes its operations, /metrics has its measures."""
EXIT_CODES = """Exit codes:
  1    settings are missing, wrong or unknown: the last line of the log names all of them
  2    wrong arguments
  3    the address cannot be used, or the gateway failed to start
  143  ended by SIGTERM, after the answers in flight"""
KEEP_ALIVE_SECONDS = 75
"""Longer than load balancers and phones keep an idle connection (usually 60 s).

So the caller closes a connection first, never while a request is on its way.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM and return the exit code; EXIT_CODES lists them."""
    _parse(arguments)
    try:
        settings = read_settings()
    except SettingsRefused as refusal:
        sys.stderr.write(f"the settings are wrong: {refusal}\n")
        return 1
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(settings.deadline_seconds * 2)),
    )
    return 0


def _parse(arguments: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m client_api",
        description=ABOUT,
        epilog=f"{settings_help(Settings, prefix=PREFIX)}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ratchet {__version__}")
    parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
