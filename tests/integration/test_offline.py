"""What the demo's offline test relies on: trap and browser see an attempt, and only an attempt."""

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.grounds.browser import open_page, why_no_browser
from tests.grounds.offline import offline, read_attempts, why_not_offline

TRIES = """
import socket, sys
def attempt(act):
    try:
        act()
    except OSError:
        pass  # swallowed, as by many a library
attempt(lambda: socket.create_connection(("198.51.100.7", 443), 0.2))
attempt(lambda: socket.create_connection(("2001:db8:1::7", 443), 0.2))
attempt(lambda: socket.getaddrinfo("telemetry.example", 443))
"""
STAYS_AT_HOME = """
import socket
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname()).close()
socket.getaddrinfo("localhost", 80)
"""
in_ci = os.environ.get("CI") == "true"
needs_namespace = pytest.mark.skipif(
    bool(why_not_offline()) and not in_ci, reason=why_not_offline()
)
needs_browser = pytest.mark.skipif(bool(why_no_browser()) and not in_ci, reason=why_no_browser())


@needs_namespace
@pytest.mark.parametrize(
    ("code", "found"),
    [
        (TRIES, ["name telemetry.example", "tcp 198.51.100.7:443", "tcp [2001:db8:1::7]:443"]),
        (STAYS_AT_HOME, []),
    ],
)
def test_the_trap_writes_down_what_a_program_asks_of_others(
    tmp_path: Path, code: str, found: list[str]
) -> None:
    attempts = tmp_path / "attempts"
    subprocess.run(offline([sys.executable, "-c", code], attempts), check=True, timeout=60)
    assert read_attempts(attempts) == found


@pytest.fixture
def page() -> Iterator[str]:
    """The address of a page whose script another host has."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer one page."""
            body = b'<p id=said></p><script>said.append("written by a script")</script><script src="http://cdn.example/ui.js"></script>'
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@needs_browser
def test_the_browser_says_what_a_page_shows_and_what_else_the_page_asks_for(
    tmp_path: Path, page: str
) -> None:
    opened = open_page(page, tmp_path / "browser")
    assert "written by a script" in opened.dom
    assert opened.elsewhere == ("http://cdn.example/ui.js",)
