"""Phones: a few concurrent clients that ask the gateway without pause, and what they were answered."""

from __future__ import annotations

import asyncio
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
    status: int
    """HTTP status; 0 when no answer came."""
    version: int | None


@dataclass
class Clients:
    """Concurrent callers on a thread of their own; start, do something else, stop."""

    url: str
    key: str
    rows: list[dict[str, Any]]
    callers: int = 8
    pause_seconds: float = 0.02
    """Between a caller's requests: this is a check of correctness on two shared cores, not a load test."""
    answers: list[Answer] = field(default_factory=list)
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
        limits = httpx2.Limits(max_connections=self.callers)
        async with httpx2.AsyncClient(limits=limits, timeout=10, headers={"Authorization": f"Bearer {self.key}"}) as client:
            await asyncio.gather(*(self._ask(client, number) for number in range(self.callers)))

    async def _ask(self, client: httpx2.AsyncClient, number: int) -> None:
        while not self._leave.is_set():
            row = self.rows[(number + len(self.answers)) % len(self.rows)]
            asked_at = time.monotonic()
            try:
                response = await client.post(self.url, json={"instances": [row]})
                version = response.json()["model_version"] if response.status_code == 200 else None
                self.answers.append(Answer(asked_at, response.status_code, version))
            except httpx2.HTTPError:
                self.answers.append(Answer(asked_at, 0, None))
            await asyncio.sleep(self.pause_seconds)
