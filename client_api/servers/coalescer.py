"""Joins the rows of many callers into one call at a time, without a timer.

While a call is in flight, new rows wait. Then all of them go in the next call. One coalescer
belongs to one server. It knows neither HTTP nor models: `call` takes blocks of rows and returns
one answer a row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from client_api.admission import seconds_to_answer
from client_api.errors import (
    AnswerWrong,
    BlockRefused,
    DeadlineOutOfReach,
    DeadlinePassed,
    NoLane,
    QueueFull,
)

Row = TypeVar("Row")
Answer = TypeVar("Answer")
Call = Callable[
    [Sequence[Sequence[Row]], float], Awaitable[Sequence[Sequence[Answer] | BlockRefused]]
]
"""Takes blocks of rows and the latest deadline. Returns for each block its answers or a refusal."""

NEWEST_CALL_SHARE = 0.2
"""Weight of the newest call in the running mean of call times: about ten calls count."""


class _Ticket(Generic[Row, Answer]):
    """One caller's rows and future. A future that is done before the call drops its rows."""

    __slots__ = ("deadline", "future", "rows")

    def __init__(
        self, rows: Sequence[Row], deadline: float, future: asyncio.Future[Sequence[Answer]]
    ) -> None:
        self.rows = rows
        self.deadline = deadline
        self.future = future

    def answer(self, answers: Sequence[Answer]) -> None:
        if not self.future.done():
            self.future.set_result(answers)

    def fail(self, fault: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(fault)


class Coalescer(Generic[Row, Answer]):
    """The queue before one server, bounded in rows."""

    def __init__(
        self, call: Call[Row, Answer], *, max_block_rows: int, max_waiting_rows: int
    ) -> None:
        """Wrap `call`. The coalescer runs one call at a time and cancels none.

        Args:
            call: Asks the server. Raises errors that concern all blocks of a call.
            max_block_rows: The most rows of a block, and of one caller.
            max_waiting_rows: The most rows that wait behind the call in flight.
        """
        self._call = call
        self._max_block_rows = max_block_rows
        self._max_waiting_rows = max_waiting_rows
        self._waiting: dict[_Ticket[Row, Answer], None] = {}
        self._runner: asyncio.Task[None] | None = None
        self._call_seconds = 0.0
        self.waiting_rows = 0
        self.in_flight_rows = 0
        self.is_closed = False

    @property
    def load_rows(self) -> int:
        """Rows that wait or are in flight."""
        return self.waiting_rows + self.in_flight_rows

    async def ask(self, rows: Sequence[Row], *, deadline: float) -> Sequence[Answer]:
        """Return the answers to `rows`, in their order.

        When cancelled, this drops the rows, unless their call has started.

        Args:
            rows: At least one, at most `max_block_rows`. One release answers all, because they
                travel in one block.
            deadline: On the event loop's clock.

        Raises:
            QueueFull, DeadlineOutOfReach, NoLane: Refused at once.
            DeadlinePassed: The deadline came first.
            ServerFault: `call` raised it, or returned another number of rows.
        """
        loop = asyncio.get_running_loop()
        self._admit(len(rows), deadline - loop.time())
        ticket = _Ticket[Row, Answer](rows, deadline, loop.create_future())
        self._waiting[ticket] = None
        self.waiting_rows += len(rows)
        if self._runner is None:
            self._runner = loop.create_task(self._run())
        timer = loop.call_at(
            deadline, ticket.fail, DeadlinePassed("the answer did not come before the deadline")
        )
        try:
            return await ticket.future
        finally:
            timer.cancel()
            self._forget(ticket)

    async def drain(self) -> None:
        """Take no new rows. Return when all earlier rows are answered."""
        self.is_closed = True
        while self._runner is not None:
            await asyncio.wait({self._runner})

    def _admit(self, rows: int, seconds_left: float) -> None:
        if self.is_closed:
            raise NoLane("the server is being drained")
        if self._runner is None:
            return
        if self.waiting_rows + rows > self._max_waiting_rows:
            raise QueueFull(
                f"{self.waiting_rows} rows wait already; at most {self._max_waiting_rows} may"
            )
        needed = seconds_to_answer(
            self._call_seconds, self.waiting_rows + rows, max_block_rows=self._max_block_rows
        )
        if needed > seconds_left:
            left = max(seconds_left, 0)
            raise DeadlineOutOfReach(
                f"the rows ahead need about {needed:.2f} s; the deadline leaves {left:.2f} s",
                retry_after_seconds=max(1, round(needed)),
            )

    def _forget(self, ticket: _Ticket[Row, Answer]) -> None:
        if ticket in self._waiting:
            del self._waiting[ticket]
            self.waiting_rows -= len(ticket.rows)

    def _take(self) -> list[_Ticket[Row, Answer]]:
        """Take the tickets of the next block, oldest first, without those that are done."""
        taken: list[_Ticket[Row, Answer]] = []
        rows = 0
        for ticket in list(self._waiting):
            if ticket.future.done():
                self._forget(ticket)
                continue
            if rows + len(ticket.rows) > self._max_block_rows and taken:
                break
            rows += len(ticket.rows)
            taken.append(ticket)
            self._forget(ticket)
        self.in_flight_rows = rows
        return taken

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while tickets := self._take():
                started = loop.time()
                await self._answer(tickets)
                seconds = loop.time() - started
                self._call_seconds += NEWEST_CALL_SHARE * (seconds - self._call_seconds)
        finally:
            self._runner = None
            self.in_flight_rows = 0

    async def _answer(self, tickets: list[_Ticket[Row, Answer]]) -> None:
        try:
            joined = [row for ticket in tickets for row in ticket.rows]
            [outcome] = await self._exchange([joined], tickets)
            if isinstance(outcome, BlockRefused):
                await self._answer_apart(tickets, outcome)
                return
            start = 0
            for ticket in tickets:
                stop = start + len(ticket.rows)
                ticket.answer(outcome[start:stop])
                start = stop
        except Exception as fault:  # noqa: BLE001 - callers wait, every fault must reach them
            _fail_all(tickets, fault)
        except BaseException:  # cancelled: the callers get an answer, and the cancellation goes on
            _fail_all(tickets, NoLane("the gateway is stopping"))
            raise

    async def _answer_apart(
        self, tickets: list[_Ticket[Row, Answer]], refusal: BlockRefused
    ) -> None:
        """Ask again with one block for each caller. One caller's rows caused the refusal."""
        if len(tickets) == 1:
            tickets[0].fail(refusal)
            return
        outcomes = await self._exchange([ticket.rows for ticket in tickets], tickets)
        for ticket, outcome in zip(tickets, outcomes, strict=True):
            if isinstance(outcome, BlockRefused):
                ticket.fail(outcome)
            else:
                ticket.answer(outcome)

    async def _exchange(
        self, blocks: list[Sequence[Row]], tickets: list[_Ticket[Row, Answer]]
    ) -> Sequence[Sequence[Answer] | BlockRefused]:
        outcomes = await self._call(blocks, max(ticket.deadline for ticket in tickets))
        if len(outcomes) != len(blocks):
            raise AnswerWrong(f"the server answered {len(outcomes)} blocks to {len(blocks)}")
        for block, outcome in zip(blocks, outcomes, strict=True):
            if not isinstance(outcome, BlockRefused) and len(outcome) != len(block):
                raise AnswerWrong(f"the server answered {len(outcome)} rows to {len(block)}")
        return outcomes


def _fail_all(tickets: list[_Ticket[Row, Answer]], fault: Exception) -> None:
    for ticket in tickets:
        ticket.fail(fault)
