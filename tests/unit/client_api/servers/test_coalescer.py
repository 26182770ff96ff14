"""While a call is in flight rows wait, then all go. Hopeless rows are refused at once.

Time is virtual.
"""

from __future__ import annotations

import asyncio

import pytest

from client_api.errors import DeadlineOutOfReach, DeadlinePassed, NoLane, QueueFull
from client_api.servers.coalescer import Coalescer
from tests.fakes.virtual_time import run


class Doubler:
    """Doubles numbers, one second a call."""

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds
        self.calls: list[list[int]] = []

    async def __call__(self, blocks, deadline):
        [block] = blocks
        self.calls.append(list(block))
        await asyncio.sleep(self.seconds)
        return [[2 * row for row in block]]


def asked(coalescer, rows, patience=100.0):
    return asyncio.ensure_future(
        coalescer.ask(rows, deadline=asyncio.get_running_loop().time() + patience)
    )


def test_rows_that_come_during_a_call_go_as_one_block_after_it():
    async def main():
        doubler = Doubler()
        coalescer = Coalescer(doubler, max_block_rows=10, max_waiting_rows=10)
        first = asked(coalescer, [1])
        await asyncio.sleep(0.5)
        others = [asked(coalescer, [2, 3]), asked(coalescer, [4])]
        assert [await first, *[await other for other in others]] == [[2], [4, 6], [8]]
        assert doubler.calls == [[1], [2, 3, 4]]

    run(main())


def test_a_caller_who_leaves_takes_his_waiting_rows_along():
    async def main():
        doubler = Doubler()
        coalescer = Coalescer(doubler, max_block_rows=10, max_waiting_rows=2)
        asked(coalescer, [1])
        await asyncio.sleep(0.5)
        leaving, staying = asked(coalescer, [2]), asked(coalescer, [3])
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.sleep(0)
        assert coalescer.waiting_rows == 1, "his place is free again"
        assert await staying == [6]
        assert doubler.calls == [[1], [3]]

    run(main())


def test_a_full_queue_refuses_at_once():
    async def main():
        coalescer = Coalescer(Doubler(), max_block_rows=10, max_waiting_rows=2)
        asked(coalescer, [1])
        await asyncio.sleep(0.5)
        waiting = asked(coalescer, [2, 3])
        await asyncio.sleep(0)
        with pytest.raises(QueueFull, match="2 rows wait already; at most 2 may"):
            await asked(coalescer, [4])
        assert await waiting == [4, 6]

    run(main())


def test_a_deadline_that_the_rows_ahead_exceed_is_refused_at_once_with_a_time_to_retry():
    async def main():
        coalescer = Coalescer(Doubler(seconds=4.0), max_block_rows=1, max_waiting_rows=100)
        for _ in range(20):
            await coalescer.ask([0], deadline=1e9)  # it learns that a call takes 4 s
        many = [asked(coalescer, [number]) for number in range(5)]
        await asyncio.sleep(0.5)
        before = asyncio.get_running_loop().time()
        with pytest.raises(DeadlineOutOfReach) as refused:
            await asked(coalescer, [9], patience=5.0)
        assert asyncio.get_running_loop().time() == before
        assert 20 <= refused.value.retry_after_seconds <= 24
        await asyncio.gather(*many)
        assert await asked(coalescer, [9], patience=5.0) == [18], (
            "an idle server is asked whatever it took before"
        )

    run(main())


def test_the_deadline_ends_the_wait_and_the_late_answer_is_nobodys():
    async def main():
        doubler = Doubler(seconds=3.0)
        coalescer = Coalescer(doubler, max_block_rows=10, max_waiting_rows=10)
        in_flight = asked(coalescer, [1], patience=1.0)
        await asyncio.sleep(0.5)
        waiting = asked(coalescer, [2], patience=2.0)
        patient = asked(coalescer, [3])
        for late in (in_flight, waiting):
            with pytest.raises(DeadlinePassed):
                await late
        assert asyncio.get_running_loop().time() == 2.5
        assert await patient == [6]
        assert doubler.calls == [[1], [3]], "rows that nobody waits for are not sent"

    run(main())


def test_drained_it_answers_what_it_has_and_takes_nothing_new():
    async def main():
        coalescer = Coalescer(Doubler(), max_block_rows=1, max_waiting_rows=10)
        having = [asked(coalescer, [1]), asked(coalescer, [2])]
        await asyncio.sleep(0)
        draining = asyncio.ensure_future(coalescer.drain())
        await asyncio.sleep(0)
        with pytest.raises(NoLane):
            await asked(coalescer, [3])
        assert not draining.done()
        assert await asyncio.gather(*having) == [[2], [4]]
        await draining

    run(main())
