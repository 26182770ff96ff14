"""The table of lanes: one lane for each server in the list of endpoints (endpoints.py).

The list names the servers. Each server says which release it serves. A lane that fails is closed,
and the server is asked again.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import re
from collections.abc import Callable, Iterator

from client_api.errors import AnswerWrong, DeadlinePassed, ModelUnknown, NoLane, ServerFault
from client_api.servers.endpoints import ANY_MODEL, Listed, open_directory
from client_api.servers.lane import Lane, Reader
from client_api.servers.upstream import Server
from client_api.settings import Settings
from serving.contract import Served

log = logging.getLogger("client_api.servers.lanes")

LANE_WAIT_SECONDS = 0.5
"""How long a request waits for a lane: two readings of the list, and the server's metadata."""
HANDOVER_SECONDS = 5.0
"""How long a lane stays open after its server left the list, when no listed server answers yet."""
LONGEST_PAUSE_SECONDS = 2.0
Place = tuple[str, str]
"""Model and URL."""
HEADER_SAFE = re.compile(r"[\x21-\x7e]{1,256}")


class Lanes:
    """All lanes, by model."""

    def __init__(
        self,
        settings: Settings,
        *,
        connect: Callable[[str], Server],
        reader_of: Callable[[Served], Reader],
        on_block: Callable[[str, int], None],
    ) -> None:
        """Begin without lanes.

        Args:
            settings: Of the gateway.
            connect: Returns the server at a URL.
            reader_of: Returns the reader of a release's requests.
            on_block: Gets model and rows of each answered block.
        """
        self._settings = settings
        self._connect = connect
        self._reader_of = reader_of
        self._on_block = on_block
        self._directory = open_directory(settings.endpoints)
        self._listed: Listed | None = None
        self._models: set[str] = set()
        self._lanes: dict[Place, Lane] = {}
        self._learners: dict[Place, asyncio.Task[None]] = {}
        self._failures: dict[Place, int] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._opened = asyncio.Event()
        self._turn = itertools.count()

    def __iter__(self) -> Iterator[Lane]:
        """Yield all lanes that take rows."""
        return iter([lane for lane in self._lanes.values() if not lane.is_broken])

    def names(self, model: str) -> bool:
        """True when the list of endpoints or a listed server names the model."""
        listed = self._listed or {}
        return model in listed or (ANY_MODEL in listed and model in self._models)

    def may_serve(self, model: str) -> bool:
        """True when the model has a name here, or a server has not yet said what it serves."""
        return self.names(model) or (ANY_MODEL in (self._listed or {}) and bool(self._learners))

    async def choose(self, model: str, *, avoid: Lane | None = None) -> Lane:
        """Return the lane with the fewest rows before it. Equal lanes take turns.

        Without an open lane this waits up to LANE_WAIT_SECONDS.

        Raises:
            ModelUnknown: No listed server serves the model.
            NoLane: No lane opened in time.
        """
        deadline = asyncio.get_running_loop().time() + LANE_WAIT_SECONDS
        while True:
            lanes = [lane for lane in self if lane.served.model == model and lane is not avoid]
            if len(lanes) == 1:
                return lanes[0]
            if lanes:
                first = next(self._turn) % len(lanes)
                in_turn = lanes[first:] + lanes[:first]
                return min(in_turn, key=lambda lane: lane.coalescer.load_rows)
            if self._listed is not None and not self.may_serve(model):
                models = sorted(self._models | self._listed.keys() - {ANY_MODEL})
                shown = ", ".join(models) or "none"
                raise ModelUnknown(f"no model {model[:80]!r}; there are: {shown}")
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
            except Exception:  # the edge: without this loop the gateway would ask servers that left
                log.exception("the endpoints could not be followed; the last good list counts")
            await asyncio.sleep(self._settings.poll_seconds)

    def observe(self) -> None:
        """Read the list, ask new servers what they serve, and close lanes that left or broke."""
        self._listed = self._directory.read()
        listed = {(model, url) for model, urls in (self._listed or {}).items() for url in urls}
        for place, lane in list(self._lanes.items()):
            if lane.is_broken:
                earlier = 0 if lane.answered_blocks else self._failures.get(place, 0)
                self._failures[place] = earlier + 1
                self._close(place)
            elif place in listed:
                lane.delisted_at = None
            elif self._may_go(lane):
                self._close(place)
        for place in self._learners.keys() - listed:
            self._learners.pop(place).cancel()
        for place in listed - self._lanes.keys() - self._learners.keys():
            learner = asyncio.get_running_loop().create_task(self._learn(*place))
            self._learners[place] = learner
            learner.add_done_callback(functools.partial(self._learner_ended, place))
        for place in self._failures.keys() - listed:
            del self._failures[place]

    async def close(self) -> None:
        """Answer what is in flight and hang up."""
        self._directory.close()
        for learner in self._learners.values():
            learner.cancel()
        for place in list(self._lanes):
            self._close(place)
        await asyncio.gather(*self._learners.values(), *self._closing, return_exceptions=True)

    def _may_go(self, lane: Lane) -> bool:
        """True when a listed server can take over from this lane, or after HANDOVER_SECONDS."""
        listed = self._listed or {}
        urls = listed.get(lane.served.model) or listed.get(ANY_MODEL, ())
        successors = (other for other in self if other.served.model == lane.served.model)
        if not urls or any(other.url in urls for other in successors):
            return True
        now = asyncio.get_running_loop().time()
        lane.delisted_at = lane.delisted_at or now
        return now - lane.delisted_at >= HANDOVER_SECONDS

    def _close(self, place: Place) -> None:
        closing = asyncio.get_running_loop().create_task(self._lanes.pop(place).close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _learn(self, model: str, url: str) -> None:
        """Ask a server what it serves until it answers, then open its lane."""
        place = (model, url)
        while True:
            failures = self._failures.get(place, 0)
            if failures:
                await asyncio.sleep(min(0.05 * 2 ** min(failures, 10), LONGEST_PAUSE_SECONDS))
            upstream = self._connect(url)
            try:
                served = await upstream.metadata()
                self._open(place, upstream, served)
                break
            except (ServerFault, DeadlinePassed) as fault:
                await upstream.close()
                self._failures[place] = failures + 1
                if failures < 3:
                    log.warning("endpoint %s of %s: %s", url, model or "a model", fault)
            except BaseException:  # cancelled, or a defect: close the connections, then raise it
                await upstream.close()
                raise
        log.info("lane open: %s version %d at %s", served.model, served.version, url)
        self._opened.set()
        self._opened = asyncio.Event()

    def _open(self, place: Place, upstream: Server, served: Served) -> None:
        model, url = place
        if model not in {served.model, ANY_MODEL} or not HEADER_SAFE.fullmatch(served.image_digest):
            says = f"{served.model} {served.image_digest[:80]!r}"
            raise AnswerWrong(f"{url} should serve {model} and says {says}")
        reader = self._reader_of(served)
        self._models.add(served.model)
        self._lanes[place] = Lane(
            upstream, served, reader, settings=self._settings, on_block=self._on_block
        )

    def _learner_ended(self, place: Place, learner: asyncio.Task[None]) -> None:
        if self._learners.get(place) is learner:
            del self._learners[place]
        if learner.cancelled():
            return
        if fault := learner.exception():
            self._failures[place] = self._failures.get(place, 0) + 1
            log.error("no lane to %s of %s", place[1], place[0], exc_info=fault)
            return
        self.observe()  # the new lane may replace another one now
