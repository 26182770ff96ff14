"""The local forge behind a network that lies on demand.

It can lose an answer after the commit, limit the rate, be away, or answer slowly.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infra.local.forge.app import forge, seed
from tests.grounds.forge_server import REPOSITORY, TOKEN

Kind = Literal[
    "lost_answer",
    "outage",
    "rate_limit",
    "secondary_limit",
    "forbidden",
    "slow",
    "no_json",
    "other_json",
    "half_json",
]
"""What the network does to a request.

- `lost_answer`: the forge does it, and the answer is 502.
- `outage`: the forge does not do it, and the answer is 502.
- The limits and `forbidden`: the forge does not do it, and the answer is 403.
- `slow`: the forge does it, and the answer is late.
- The last three answer 200 with a page for people, JSON of another shape, or a part of the answer.
"""


@dataclass
class Lie:
    """What happens to the next `times` requests that fit `method` and `path`.

    The path is matched without `/api/v3/repos/acme/ratchet`.
    """

    kind: Kind
    method: str = ".*"
    path: str = ".*"
    times: int = 1
    seconds: float = 1.0
    """How late a slow answer is, or how long a limit lasts."""

    def fits(self, method: str, path: str) -> bool:
        return (
            self.times > 0
            and re.fullmatch(self.method, method) is not None
            and re.search(self.path, path) is not None
        )


@dataclass
class LyingForge:
    """ASGI: tells its lies about what `truth` answers, and keeps what was asked."""

    truth: ASGIApp
    url: str
    """The REST root."""
    token: str = TOKEN
    lies: list[Lie] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def lie(
        self,
        kind: Kind,
        method: str = ".*",
        path: str = ".*",
        *,
        times: int = 1,
        seconds: float = 1.0,
    ) -> None:
        """Lie about requests to come."""
        self.lies.append(Lie(kind, method, path, times, seconds))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.truth(scope, receive, send)
            return
        method, path = scope["method"], scope["path"].removeprefix(f"/api/v3/repos/{REPOSITORY}")
        self.asked.append((method, path))
        lie = next((lie for lie in self.lies if lie.fits(method, path)), None)
        if lie is None:
            await self.truth(scope, receive, send)
            return
        lie.times -= 1
        await self._tell(lie, scope, receive, send)

    async def _tell(self, lie: Lie, scope: Scope, receive: Receive, send: Send) -> None:
        if lie.kind == "slow":
            await asyncio.sleep(lie.seconds)
            await self.truth(scope, receive, send)
        elif lie.kind in ("lost_answer", "outage"):
            if lie.kind == "lost_answer":
                await self.truth(scope, receive, _nowhere)
            await _answer(send, 502, "Server Error", {})
        elif lie.kind == "rate_limit":
            reset = str(int(time.time() + lie.seconds))
            headers = {
                "x-ratelimit-limit": "5000",
                "x-ratelimit-remaining": "0",
                "x-ratelimit-reset": reset,
            }
            await _answer(send, 403, "API rate limit exceeded for user ID 1.", headers)
        elif lie.kind == "secondary_limit":
            message = "You have exceeded a secondary rate limit. Please wait a few minutes."
            await _answer(send, 403, message, {"retry-after": str(int(lie.seconds))})
        elif lie.kind in _BODIES:
            await _send(send, 200, _BODIES[lie.kind], {})
        else:
            await _answer(send, 403, "Resource not accessible by personal access token", {})


_BODIES = {
    "no_json": b"<html>Sign in to the network</html>",
    "other_json": b'[{"object": 7, "encoding": "base64", "content": 7, "sha": 7}, 7]',
    "half_json": b'{"object": {"sha": "',
}


async def _nowhere(_: Message) -> None:
    """What the truth said is lost."""


async def _answer(send: Send, status: int, message: str, headers: dict[str, str]) -> None:
    body = json.dumps(
        {"message": message, "documentation_url": "https://docs.github.com/rest"}
    ).encode()
    await _send(send, status, body, headers)


async def _send(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    raw = [
        (name.encode(), value.encode())
        for name, value in {
            "content-type": "application/json",
            "content-length": str(len(body)),
            **headers,
        }.items()
    ]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def lying_forge(folder: Path, files: dict[str, bytes] | None = None) -> Iterator[LyingForge]:
    """Serve a forge from a thread of this process; honest until it is told to `lie`."""
    seed(folder, files or {"README.md": b"# Production\n"})
    listener = socket.create_server(("127.0.0.1", 0))
    application = forge(folder, REPOSITORY, {TOKEN: "ratchet-bot"})
    liar = LyingForge(application, f"http://127.0.0.1:{listener.getsockname()[1]}/api/v3")
    server = uvicorn.Server(
        uvicorn.Config(liar, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, args=([listener],), name="lying-forge")
    thread.start()
    try:
        yield liar
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
        application.state.store.close()
