"""One lane: the way to one server, its queue, and what the server answered last.

A lane lives as long as its server serves one release. A lane that fails is closed; lanes.py opens
a new one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from client_api.errors import AnswerWrong, BlockRefused, DeadlinePassed, NoResponse
from client_api.servers.coalescer import Coalescer
from client_api.servers.upstream import Prediction, Server, check_answer
from client_api.settings import Settings
from serving.contract import Served

log = logging.getLogger("client_api.servers.lanes")

Row = Mapping[str, Any]
"""One valid instance, as the release's reader made it."""


class Reader(Protocol):
    """Reads requests for one release, as lanes need it."""

    def read(self, body: bytes) -> list[Row]:
        """Return the rows of a request, or raise RequestInvalid."""

    def columns(self, rows: Sequence[Row]) -> dict[str, list[Any]]:
        """Return rows as columns by feature."""


class Lane:
    """The way to one server, as long as it serves one release."""

    def __init__(
        self,
        upstream: Server,
        served: Served,
        reader: Reader,
        *,
        settings: Settings,
        on_block: Callable[[str, int], None],
    ) -> None:
        """Open a lane to a server that serves `served`; `on_block` gets model and rows."""
        self.served = served
        self.reader = reader
        self.url = upstream.url
        self.is_broken = False
        self.answered_blocks = 0
        self.delisted_at: float | None = None
        self.release_headers = (
            (b"ratchet-model-version", b"%d" % served.version),
            (b"ratchet-image-digest", served.image_digest.encode()),
        )
        self.coalescer = Coalescer[Row, Prediction](
            self._call, max_block_rows=served.max_rows, max_waiting_rows=settings.max_waiting_rows
        )
        self._upstream = upstream
        self._on_block = on_block
        # A call with less time than this says little about the server when it is late.
        self._patience_seconds = settings.deadline_seconds / 2

    async def close(self) -> None:
        """Take no new rows, answer the rows that came, and hang up."""
        await self.coalescer.drain()
        await self._upstream.close()

    async def _call(
        self, blocks: Sequence[Sequence[Row]], deadline: float
    ) -> list[list[Prediction] | BlockRefused]:
        allowed_seconds = deadline - asyncio.get_running_loop().time()
        try:
            checked = await self._checked_answers(blocks, deadline)
        except (NoResponse, DeadlinePassed, AnswerWrong) as fault:
            is_late = isinstance(fault, DeadlinePassed)
            self.is_broken = not is_late or allowed_seconds >= self._patience_seconds
            log.warning("lane %s version %d: %s", self.url, self.served.version, fault)
            raise
        self.answered_blocks += 1
        for rows in blocks:
            self._on_block(self.served.model, len(rows))
        return checked

    async def _checked_answers(
        self, blocks: Sequence[Sequence[Row]], deadline: float
    ) -> list[list[Prediction] | BlockRefused]:
        columns = [self.reader.columns(rows) for rows in blocks]
        answers = await self._upstream.predict(columns, deadline=deadline)
        if len(answers) != len(blocks):
            raise AnswerWrong(f"the server answered {len(answers)} blocks to {len(blocks)}")
        return [
            answer
            if isinstance(answer, BlockRefused)
            else check_answer(answer, len(rows), self.served)
            for answer, rows in zip(answers, blocks, strict=True)
        ]
