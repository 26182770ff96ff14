"""Callers come, leave and wait at random before a server that fails, is late and lies.

Whoever gets an answer gets his own, whole and from one call.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from client_api.errors import (
    AnswerWrong,
    BlockRefused,
    DeadlineOutOfReach,
    DeadlinePassed,
    GatewayError,
    NoResponse,
    QueueFull,
)
from client_api.servers.coalescer import Coalescer
from tests.fakes.virtual_time import run

MAX_BLOCK_ROWS, MAX_WAITING_ROWS = 8, 20
MOMENTS = st.integers(0, 40).map(
    lambda number: number / 16
)  # coarse, so that things happen at the same moment


@dataclass(frozen=True)
class Caller:
    comes_at: float
    rows: int
    patience: float
    stays: float | None
    """How long until it hangs up; None: until it is answered."""
    poisoned: bool


@dataclass(frozen=True)
class Turn:
    """How the server treats one call."""

    seconds: float
    conduct: str


callers = st.lists(
    st.builds(
        Caller,
        comes_at=MOMENTS,
        rows=st.integers(1, MAX_BLOCK_ROWS),
        patience=st.sampled_from([0.1, 0.5, 2.0, 10.0]),
        stays=st.none() | st.sampled_from([0.0, 0.05, 0.3, 1.0]),
        poisoned=st.sampled_from([False] * 5 + [True]),
    ),
    max_size=25,
)
CONDUCTS = ["answers"] * 6 + [
    "does not respond",
    "too few rows",
    "too many rows",
    "too few blocks",
    "too many blocks",
    "breaks",
]
turns = st.lists(
    st.builds(
        Turn,
        seconds=st.sampled_from([0.0, 1 / 16, 0.2, 1.0, 3.0]),
        conduct=st.sampled_from(CONDUCTS),
    ),
    max_size=25,
)


class Broken(Exception):
    """Not an error that anybody foresaw."""


@dataclass
class ScriptedServer:
    """Records every call and answers as its script says; afterwards honestly and at once."""

    script: list[Turn]
    calls: list[tuple[float, list[list[tuple[int, int]]]]] = field(default_factory=list)
    busy: bool = False

    async def __call__(self, blocks, deadline):
        assert not self.busy, "two calls at a time"
        self.busy = True
        self.calls.append((asyncio.get_running_loop().time(), [list(block) for block in blocks]))
        number = len(self.calls)
        turn = self.script[number - 1] if number <= len(self.script) else Turn(0.0, "answers")
        try:
            await asyncio.sleep(turn.seconds)
            return self.answer(turn.conduct, blocks, number)
        finally:
            self.busy = False

    def answer(self, conduct, blocks, number):
        if conduct == "does not respond":
            raise NoResponse("nothing came back")
        if conduct == "breaks":
            raise Broken("a fault of the gateway")
        answers = [
            BlockRefused(400, "poison")
            if any(is_poisoned for *_, is_poisoned in block)
            else [(row, number) for row in block]
            for block in blocks
        ]
        if conduct == "too few rows":
            answers = [answer[:-1] if isinstance(answer, list) else answer for answer in answers]
        if conduct == "too many rows":
            answers = [
                [*answer, answer[0]] if isinstance(answer, list) else answer for answer in answers
            ]
        if conduct == "too few blocks":
            answers = answers[:-1]
        if conduct == "too many blocks":
            answers = [*answers, [("somebody", "else")]]
        return answers


@dataclass
class End:
    at: float
    outcome: object


async def story(people: list[Caller], server: ScriptedServer) -> tuple[dict[int, End], Coalescer]:
    loop = asyncio.get_running_loop()
    coalescer = Coalescer(server, max_block_rows=MAX_BLOCK_ROWS, max_waiting_rows=MAX_WAITING_ROWS)
    ends: dict[int, End] = {}

    async def live(number: int, caller: Caller) -> None:
        await asyncio.sleep(caller.comes_at)
        rows = [(number, row, caller.poisoned) for row in range(caller.rows)]
        asking = asyncio.ensure_future(coalescer.ask(rows, deadline=loop.time() + caller.patience))
        if caller.stays is not None:
            loop.call_later(caller.stays, asking.cancel)
        try:
            outcome: object = await asking
        except asyncio.CancelledError:
            outcome = "left"
        except (GatewayError, Broken) as error:
            outcome = error
        ends[number] = End(loop.time(), outcome)
        assert (
            0 <= coalescer.waiting_rows <= MAX_WAITING_ROWS + MAX_BLOCK_ROWS
        )  # an idle server takes whatever one caller brings

    await asyncio.gather(*(live(number, caller) for number, caller in enumerate(people)))
    await coalescer.drain()
    return ends, coalescer


@settings(max_examples=150, deadline=None)
@given(callers, turns)
def test_nobody_gets_anothers_answer_and_nobody_waits_beyond_the_deadline(people, script):
    server = ScriptedServer(script)
    ends, coalescer = run(story(people, server))
    for number, caller in enumerate(people):
        end = ends[number]
        assert end.at <= caller.comes_at + caller.patience + 1e-9
        if isinstance(end.outcome, list):
            assert [row for row, _ in end.outcome] == [
                (number, row, caller.poisoned) for row in range(caller.rows)
            ]
            assert len({call for _, call in end.outcome}) == 1, (
                "one answer from two calls mixes releases"
            )
            assert not caller.poisoned
        elif isinstance(end.outcome, BlockRefused):
            assert caller.poisoned, "somebody else's rows were at fault"
        elif end.outcome == "left":
            assert caller.stays is not None
        else:
            assert isinstance(
                end.outcome,
                NoResponse | AnswerWrong | QueueFull | DeadlineOutOfReach | DeadlinePassed | Broken,
            )
    assert coalescer.load_rows == 0


@settings(max_examples=100, deadline=None)
@given(callers, turns)
def test_blocks_hold_whole_callers_in_the_order_they_came_and_never_too_many_rows(people, script):
    server = ScriptedServer(script)
    run(story(people, server))
    sent: dict[int, list[float]] = {}
    for at, blocks in server.calls:
        assert sum(map(len, blocks)) <= MAX_BLOCK_ROWS
        for block in blocks:
            assert block, "an empty block"
            numbers = list(dict.fromkeys(number for number, *_ in block))
            assert block == [
                (number, row, people[number].poisoned)
                for number in numbers
                for row in range(people[number].rows)
            ]
        for number in {number for block in blocks for number, *_ in block}:
            sent.setdefault(number, []).append(at)
    for number, moments in sent.items():
        caller = people[number]
        assert len(moments) <= 2, "once joined, once apart when the joined block was refused"
        assert moments[0] >= caller.comes_at
        if caller.stays is not None:
            assert moments[0] <= caller.comes_at + caller.stays, (
                "the rows of a caller who left were sent"
            )
        assert moments[0] <= caller.comes_at + caller.patience, (
            "rows were sent that nobody waits for"
        )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.builds(Caller, MOMENTS, st.integers(1, 3), st.just(100.0), st.none(), st.just(False)),
        max_size=20,
    ),
    st.sampled_from([1 / 16, 5 / 16, 1.0]),
)
def test_an_idle_server_is_asked_at_once_and_a_busy_one_as_soon_as_it_is_free(people, seconds):
    server = ScriptedServer([Turn(seconds, "answers")] * 50)
    run(story(people, server))
    for at, blocks in server.calls:
        assert len(blocks) == 1
        free_at = [earlier + seconds for earlier, _ in server.calls if earlier < at]
        first_came = min(people[number].comes_at for number, *_ in blocks[0])
        assert at == max([first_came, *free_at[-1:]]), "waiting for a timer"
