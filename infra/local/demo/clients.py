"""Phones: requests at a constant rate, and the answer to each. They do not wait for answers."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx2


@dataclass(frozen=True)
class Answer:
    """One answered or failed request."""

    asked_at: float
    """`time.monotonic()` when it was sent."""
    seconds: float
    status: int
    """HTTP status; 0 when no answer came."""
    version: int | None
    image_digest: str | None


@dataclass
class Clients:
    """Open-loop callers on a thread of their own: a slow server gets no fewer requests.

    Use: `start`, do something else, `stop`.
    """

    url: str
    key: str
    rows: list[dict[str, Any]]
    per_second: float = 100
    """This is a check of correctness on two shared cores, not a load test."""
    answers: list[Answer] = field(default_factory=list)
    """Grows while they run, in the order in which answers came."""
    _leave: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to ask."""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._ask_all()), daemon=True)
        self._thread.start()

    def stop(self) -> list[Answer]:
        """End after the requests in flight and return all answers."""
        self._leave.set()
        if self._thread is not None:
            self._thread.join(30)
        return self.answers

    async def _ask_all(self) -> None:
        limits = httpx2.Limits(max_connections=None)
        rows, began = itertools.cycle(self.rows), time.monotonic()
        async with (
            httpx2.AsyncClient(
                limits=limits, timeout=10, headers={"Authorization": f"Bearer {self.key}"}
            ) as client,
            asyncio.TaskGroup() as asked,
        ):
            for number in itertools.count():
                if self._leave.is_set():
                    return
                asked.create_task(self._ask(client, next(rows)))
                await asyncio.sleep(
                    max(0.0, began + (number + 1) / self.per_second - time.monotonic())
                )

    async def _ask(self, client: httpx2.AsyncClient, row: dict[str, Any]) -> None:
        asked_at = time.monotonic()
        try:
            response = await client.post(self.url, json={"instances": [row]})
            headers = response.headers if response.status_code == 200 else {}
            version, image = (
                headers.get("ratchet-model-version"),
                headers.get("ratchet-image-digest"),
            )
            status = response.status_code
        except httpx2.HTTPError:
            status, version, image = 0, None, None
        self.answers.append(
            Answer(
                asked_at,
                time.monotonic() - asked_at,
                status,
                None if version is None else int(version),
                image,
            )
        )
