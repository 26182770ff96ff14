"""The cluster's HTTP face on loopback: `/` for people, Deployments for promote. Read only."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from infra.local.cluster.status import not_found

Pages = Mapping[str, dict[str, Any]]


def serve(port: int, current_pages: Callable[[], Pages]) -> ThreadingHTTPServer:
    """Answer from whatever `current_pages` returns, in threads of its own.

    Raises:
        OSError: The port is taken.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """Answer one of the pages."""
            path = self.path.partition("?")[0].rstrip("/") or "/"
            page = current_pages().get(path)
            body = json.dumps(not_found(path) if page is None else page, indent=1).encode() + b"\n"
            self.send_response(404 if page is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
            """Write nothing: promote asks every second."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="api", daemon=True).start()
    return server
