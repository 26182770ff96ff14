"""The cluster's HTTP face on loopback: `/` for people, Deployments for promote. Read only."""

from __future__ import annotations

import json
import re
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
        def do_GET(self) -> None:
            """Answer one page. As in Kubernetes, a missing object and an unknown path differ."""
            path = self.path.partition("?")[0].rstrip("/") or "/"
            if (page := current_pages().get(path)) is not None:
                self._answer(200, "application/json", json.dumps(page, indent=1))
            elif re.fullmatch(r"/apis/apps/v1/namespaces/[^/]+/deployments/[^/]+", path):
                self._answer(404, "application/json", json.dumps(not_found(path), indent=1))
            else:
                self._answer(404, "text/plain", "404 page not found")

        def _answer(self, status: int, media_type: str, text: str) -> None:
            body = text.encode() + b"\n"
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
            """Write nothing: promote asks every second."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="api", daemon=True).start()
    return server
