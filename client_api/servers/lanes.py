"""One lane per server endpoint: what it serves, its queue, and the table of lanes that follows the list of endpoints (endpoints.py).

The list says which endpoints there are, each server says itself which release it is. A lane that fails is closed and learnt anew.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import re
from collections.abc import Callable, Iterator, Sequence

from client_api.errors import (
    AnswerWrong,
    BlockRefused,
    DeadlinePassed,
    ModelUnknown,
    NoLane,
    NoResponse,
    ServerFault,
)
from client_api.protocols.instances import RequestReader, Row
from client_api.servers.coalescer import Coalescer
from client_api.servers.endpoints import ANY_MODEL, Listed, open_directory
from client_api.servers.upstream import Prediction, Server, check_answer
from client_api.settings import Settings
from serving.contract import Served

log = logging.getLogger("client_api.servers.lanes")

LANE_WAIT_SECONDS = 0.5
"""How long a request waits for a lane when none is open: two readings of the list and the server's metadata."""
HANDOVER_SECONDS = 5.0
"""How long a lane that is no longer listed goes on when none that is answers yet."""
LONGEST_PAUSE_SECONDS = 2.0
HEADER_SAFE = re.compile(r"[\x21-\x7e]{1,256}")


class Lane:
    """The way to one server, as long as it serves one release."""

    def __init__(
        self,
        upstream: Server,
        served: Served,
        *,
        settings: Settings,
        on_block: Callable[[str, int], None],
    ) -> None:
        """Open a lane to a server that has said what it serves."""
        self.served = served
        self.url = upstream.url
        self.is_broken = False
        self.answered_blocks = 0
        self.delisted_at: float | None = None
        self.reader = RequestReader(
            served.model,
            served.io,
            max_rows=min(settings.max_request_rows, served.max_rows),
            title=served.title,
            example=served.example,
        )
        self.release_headers = (
            (b"ratchet-model-version", b"%d" % served.version),
            (b"ratchet-image-digest", served.image_digest.encode()),
        )
        self.coalescer = Coalescer[Row, Prediction](
            self._call, max_block_rows=served.max_rows, max_waiting_rows=settings.max_waiting_rows
        )
        self._upstream = upstream
        self._on_block = on_block
        self._patience_seconds = (
            settings.deadline_seconds / 2
        )  # a call that was given less says little about the server

    async def close(self) -> None:
        """Take no new rows, answer those that came, and hang up."""
        await self.coalescer.drain()
        await self._upstream.close()

    async def _call(
        self, blocks: Sequence[Sequence[Row]], deadline: float
    ) -> list[list[Prediction] | BlockRefused]:
        allowed_seconds = deadline - asyncio.get_running_loop().time()
        try:
            answers = await self._upstream.predict(
                [self.reader.columns(rows) for rows in blocks], deadline=deadline
            )
            if len(answers) != len(blocks):
                raise AnswerWrong(f"the server answered {len(answers)} blocks to {len(blocks)}")
            checked = [
                answer
                if isinstance(answer, BlockRefused)
                else check_answer(answer, len(rows), self.served)
                for answer, rows in zip(answers, blocks, strict=True)
            ]
        except (NoResponse, DeadlinePassed, AnswerWrong) as fault:
            self.is_broken = (
                not isinstance(fault, DeadlinePassed) or allowed_seconds >= self._patience_seconds
            )
            log.warning("lane %s version %d: %s", self.url, self.served.version, fault)
            raise
        self.answered_blocks += 1
        for rows in blocks:
            self._on_block(self.served.model, len(rows))
        return checked


class Lanes:
    """All lanes, by model."""

    def __init__(
        self,
        settings: Settings,
        *,
        connect: Callable[[str], Server],
        on_block: Callable[[str, int], None],
    ) -> None:
        """Know no lane yet; `connect` opens the way to a URL, `on_block` is told model and rows of each block."""
        self._settings = settings
        self._connect = connect
        self._on_block = on_block
        self._directory = open_directory(settings.endpoints)
        self._listed: Listed | None = None
        self._met: set[str] = set()
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._learners: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._failures: dict[tuple[str, str], int] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._opened = asyncio.Event()
        self._turn = itertools.count()

    def __iter__(self) -> Iterator[Lane]:
        """All lanes that take rows."""
        return iter([lane for lane in self._lanes.values() if not lane.is_broken])

    def names(self, model: str) -> bool:
        """True when the list of endpoints or one of its servers named the model."""
        listed = self._listed or {}
        return model in listed or (ANY_MODEL in listed and model in self._met)

    def may_serve(self, model: str) -> bool:
        """True when the model is named, or may be: a server has not said yet what it serves."""
        return self.names(model) or (ANY_MODEL in (self._listed or {}) and bool(self._learners))

    async def choose(self, model: str, *, avoid: Lane | None = None) -> Lane:
        """Return the open lane with the fewest rows before it, in turn among equals; wait a moment when there is none.

        Raises:
            ModelUnknown: No listed server serves the model.
            NoLane: None opened in time.
        """
        deadline = asyncio.get_running_loop().time() + LANE_WAIT_SECONDS
        while True:
            lanes = [lane for lane in self if lane.served.model == model and lane is not avoid]
            if len(lanes) == 1:
                return lanes[0]
            if lanes:
                turn = next(self._turn)
                return min(
                    (lanes[(turn + n) % len(lanes)] for n in range(len(lanes))),
                    key=lambda lane: lane.coalescer.load_rows,
                )
            if self._listed is not None and not self.may_serve(model):
                raise ModelUnknown(
                    f"no model {model[:80]!r}; there are: {', '.join(sorted(self._met | self._listed.keys() - {ANY_MODEL})) or 'none'}"
                )
            opened = self._opened
            try:
                async with asyncio.timeout_at(deadline):
                    await opened.wait()
            except TimeoutError:
                raise NoLane(f"no server of {model[:80]} is ready") from None

    async def follow(self) -> None:
        """Follow the list of endpoints until cancelled."""
        while True:
            try:
                self.observe()
            except Exception:  # the last line of this loop: a gateway that follows no more would ask servers that are long gone
                log.exception("the endpoints could not be followed; the last known ones count")
            await asyncio.sleep(self._settings.poll_seconds)

    def observe(self) -> None:
        """Read the list, learn new endpoints, close what is gone or broken."""
        self._listed = self._directory.read()
        listed = {(model, url) for model, urls in (self._listed or {}).items() for url in urls}
        for place, lane in list(self._lanes.items()):
            if lane.is_broken:
                self._failures[place] = (
                    1 if lane.answered_blocks else self._failures.get(place, 0) + 1
                )
                self._close(place)
            elif place in listed:
                lane.delisted_at = None
            elif self._may_go(lane):
                self._close(place)
        for place in self._learners.keys() - listed:
            self._learners.pop(place).cancel()
        for place in listed - self._lanes.keys() - self._learners.keys():
            self._learners[place] = learner = asyncio.get_running_loop().create_task(
                self._learn(*place)
            )
            learner.add_done_callback(functools.partial(self._learner_ended, place))
        self._failures = {
            place: count for place, count in self._failures.items() if place in listed
        }

    async def close(self) -> None:
        """Answer what is in flight and hang up."""
        self._directory.close()
        for learner in self._learners.values():
            learner.cancel()
        for place in list(self._lanes):
            self._close(place)
        await asyncio.gather(*self._learners.values(), *self._closing, return_exceptions=True)

    def _may_go(self, lane: Lane) -> bool:
        """A lane that is no longer listed goes when a listed one can take over, or after HANDOVER_SECONDS."""
        listed = self._listed or {}
        urls = listed.get(lane.served.model) or listed.get(ANY_MODEL, ())
        if not urls or any(
            other.url in urls for other in self if other.served.model == lane.served.model
        ):
            return True
        now = asyncio.get_running_loop().time()
        lane.delisted_at = lane.delisted_at or now
        return now - lane.delisted_at >= HANDOVER_SECONDS

    def _close(self, place: tuple[str, str]) -> None:
        closing = asyncio.get_running_loop().create_task(self._lanes.pop(place).close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _learn(self, model: str, url: str) -> None:
        """Ask a server what it serves until it says so, then open its lane."""
        place = (model, url)
        while True:
            failures = self._failures.get(place, 0)
            if failures:
                await asyncio.sleep(min(0.05 * 2 ** min(failures, 10), LONGEST_PAUSE_SECONDS))
            upstream = self._connect(url)
            try:
                served = await upstream.metadata()
                if model not in {served.model, ANY_MODEL} or not HEADER_SAFE.fullmatch(
                    served.image_digest
                ):
                    raise AnswerWrong(
                        f"{url} should serve {model} and says {served.model} {served.image_digest[:80]!r}"
                    )
                self._met.add(served.model)
                self._lanes[place] = Lane(
                    upstream, served, settings=self._settings, on_block=self._on_block
                )
                break
            except (ServerFault, DeadlinePassed) as fault:
                await upstream.close()
                self._failures[place] = failures + 1
                if failures < 3:
                    log.warning("endpoint %s of %s: %s", url, model or "a model", fault)
            except BaseException:  # cancelled or a defect: close the connections, then let it go on
                await upstream.close()
                raise
        log.info("lane open: %s version %d at %s", served.model, served.version, url)
        self._opened.set()
        self._opened = asyncio.Event()

    def _learner_ended(self, place: tuple[str, str], learner: asyncio.Task[None]) -> None:
        if self._learners.get(place) is learner:
            del self._learners[place]
        if learner.cancelled():
            return
        if fault := learner.exception():
            self._failures[place] = self._failures.get(place, 0) + 1
            log.error("no lane to %s of %s", place[1], place[0], exc_info=fault)
            return
        self.observe()  # what the new lane replaces may go now
