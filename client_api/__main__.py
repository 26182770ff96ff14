"""`python -m client_api`: the gateway under uvicorn, at the address of its settings."""

from __future__ import annotations

import sys

import uvicorn

from client_api.app import create_app
from client_api.settings import read_settings
from retrain.environment import SettingsRefused

KEEP_ALIVE_SECONDS = 75
"""Longer than load balancers and phones keep an idle connection (60 s is usual): they, not we, choose the moment it ends."""


def main() -> int:
    """Serve until SIGTERM; 1 when the settings are wrong, with the reasons as the last line of the log."""
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


if __name__ == "__main__":
    sys.exit(main())
