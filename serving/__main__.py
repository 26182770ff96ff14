"""`python -m serving`: the BentoML service in one process.

`bentoml serve serving.service:Server` serves the same with a supervisor above it. Kubernetes (or the local cluster) is the supervisor here:
one that restarts a crashing server behind its back hides the crash, and killed, leaves an orphan on the port.
"""

from __future__ import annotations

import sys
from typing import Any, cast

import uvicorn

from retrain.environment import SettingsRefused
from retrain.errors import ModelRefused
from serving.service import Server, load

KEEP_ALIVE_SECONDS = 75
"""Longer than any client keeps an idle connection, so that none is closed just as a request is sent on it."""


def main() -> int:
    """Serve until SIGTERM, then answer what is in flight and end; 1 when model or settings are refused, with the reason as the last line of the log."""
    try:
        settings, _ = load()
    except ModelRefused as refusal:
        sys.stderr.write(f"{type(refusal).__name__}: {refusal}\n")
        return 1
    except SettingsRefused as refusal:
        sys.stderr.write(
            f"the settings are wrong: {refusal}\n"
        )  # one line: the cluster reports the last one
        return 1
    config = uvicorn.Config(
        cast(
            "Any", Server
        ).to_asgi(),  # bentoml.service made it a Service: mypy sees only the class below the decorator
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


if __name__ == "__main__":
    sys.exit(main())
