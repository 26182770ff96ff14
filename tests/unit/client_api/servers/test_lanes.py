"""Lanes follow the endpoints file and each server's metadata.

Servers are in memory, time is virtual.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from client_api.errors import AnswerWrong, ModelUnknown, NoLane, NoResponse
from client_api.servers.lane import Lane
from client_api.servers.lanes import HANDOVER_SECONDS, Lanes
from client_api.settings import Settings
from retrain.contract import Feature
from tests.fakes.upstream import ROW, ServerInMemory, honest_answer, reader_of, served
from tests.fakes.virtual_time import run

MODEL = "flight-delay"


class World:
    """An endpoints file, servers by URL, and the lanes that follow both."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "endpoints.json"
        self.servers: dict[str, ServerInMemory] = {}
        self.blocks: list[tuple[str, int]] = []
        settings = Settings(endpoints=self.file, keys=("k",))
        self.lanes = Lanes(
            settings,
            connect=self.connect,
            reader_of=reader_of,
            on_block=lambda model, rows: self.blocks.append((model, rows)),
        )

    def connect(self, url: str) -> ServerInMemory:
        return self.servers.setdefault(url, ServerInMemory(url))

    def serve(self, name: str, version: int) -> ServerInMemory:
        server = self.connect(f"http://{name}")
        server.release = served(version)
        return server

    def list(self, *names: str) -> None:
        self.file.write_text(
            json.dumps({"models": {MODEL: [{"url": f"http://{name}"} for name in names]}})
        )

    @property
    def versions(self) -> list[int]:
        return sorted(lane.served.version for lane in self.lanes)


def tell(folder: Path, story: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        world = World(folder)
        following = asyncio.ensure_future(world.lanes.follow())
        await story(world)
        following.cancel()
        await world.lanes.close()
        assert all(server.is_closed for server in world.servers.values())

    run(main())


async def ask(lane: Lane) -> float:
    [prediction] = await lane.coalescer.ask(
        lane.reader.read(json.dumps({"instances": [ROW]}).encode()),
        deadline=asyncio.get_running_loop().time() + 2,
    )
    return prediction["probability"]


def test_a_new_release_takes_over_within_a_poll_and_none_of_the_old_is_chosen_after_it(tmp_path):
    async def story(world: World) -> None:
        world.serve("old", 7), world.serve("new", 8)
        world.list("old")
        await asyncio.sleep(0)
        assert (await world.lanes.choose(MODEL)).served.version == 7
        world.list("new")
        await asyncio.sleep(0.26)
        assert world.versions == [8]
        assert world.servers["http://old"].is_closed

    tell(tmp_path, story)


def test_rows_in_flight_to_a_server_that_is_gone_from_the_file_are_answered(tmp_path):
    async def story(world: World) -> None:
        world.serve("old", 7).seconds = 1.0
        world.serve("new", 8)
        world.list("old")
        asking = asyncio.ensure_future(ask(await world.lanes.choose(MODEL)))
        world.list("new")
        await asyncio.sleep(0.5)
        assert world.versions == [8]
        assert not world.servers["http://old"].is_closed
        assert await asking == 0.01

    tell(tmp_path, story)


def test_the_old_server_answers_until_the_new_one_does_but_not_for_ever(tmp_path):
    async def story(world: World) -> None:
        world.serve("old", 7)
        world.list("old")
        await world.lanes.choose(MODEL)
        world.list("new")
        await asyncio.sleep(HANDOVER_SECONDS - 1)
        assert world.versions == [7]
        await asyncio.sleep(2)
        assert world.versions == []

    tell(tmp_path, story)


@pytest.mark.parametrize(
    "content", ["", "{", '{"models": {"flight-delay": [{"ur', '{"models": [1]}', "\udcff"]
)
def test_a_half_written_or_broken_file_leaves_the_last_good_one_in_force(tmp_path, content, caplog):
    async def story(world: World) -> None:
        world.serve("old", 7)
        world.list("old")
        await world.lanes.choose(MODEL)
        world.file.write_text(content, errors="surrogateescape")
        await asyncio.sleep(HANDOVER_SECONDS * 2)
        assert world.versions == [7]
        world.file.unlink()
        await asyncio.sleep(1)
        assert world.versions == [7]

    tell(tmp_path, story)
    assert (
        1 <= len([record for record in caplog.records if "endpoints file" in record.message]) <= 3
    ), "said once, not at each poll"


def test_a_model_that_is_gone_from_the_file_is_unknown(tmp_path):
    async def story(world: World) -> None:
        world.serve("old", 7)
        world.list("old")
        await world.lanes.choose(MODEL)
        world.file.write_text('{"models": {}}')
        await asyncio.sleep(0.3)
        with pytest.raises(ModelUnknown):
            await world.lanes.choose(MODEL)

    tell(tmp_path, story)


def test_a_server_that_does_not_respond_is_asked_again_only_once_it_says_what_it_serves(tmp_path):
    async def story(world: World) -> None:
        server = world.serve("one", 7)
        world.list("one")
        lane = await world.lanes.choose(MODEL)
        server.is_dead = True
        with pytest.raises(NoResponse):
            await ask(lane)
        with pytest.raises(NoLane):
            await world.lanes.choose(MODEL)
        server.is_dead, server.release = False, served(8)
        await asyncio.sleep(3)
        assert (await world.lanes.choose(MODEL)).served.version == 8
        assert await ask(await world.lanes.choose(MODEL)) == 0.01

    tell(tmp_path, story)


def test_a_port_that_changed_hands_is_noticed_by_its_first_answer(tmp_path):
    async def story(world: World) -> None:
        server = world.serve("one", 7)
        world.list("one")
        lane = await world.lanes.choose(MODEL)
        server.release = served(8)
        with pytest.raises(AnswerWrong, match=r"asked version 7 .*, version 8 .* answered"):
            await ask(lane)
        assert (await world.lanes.choose(MODEL)).served.version == 8

    tell(tmp_path, story)


@pytest.mark.parametrize(
    "release",
    [served(8, model="another"), served(8).model_copy(update={"image_digest": "a\r\nb: c"})],
)
def test_a_server_of_another_model_or_with_an_unfit_digest_gets_no_lane(tmp_path, release):
    async def story(world: World) -> None:
        world.serve("one", 7).release = release
        world.list("one")
        with pytest.raises(NoLane):
            await world.lanes.choose(MODEL)

    tell(tmp_path, story)


def test_idle_replicas_are_asked_in_turn_and_a_busy_one_is_spared(tmp_path):
    async def story(world: World) -> None:
        world.serve("a", 7), world.serve("b", 7)
        world.list("a", "b")
        await asyncio.sleep(0.3)
        assert len({(await world.lanes.choose(MODEL)).url for _ in range(4)}) == 2
        world.servers["http://a"].seconds = 1.0
        busy = next(lane for lane in world.lanes if lane.url == "http://a")
        asking = asyncio.ensure_future(ask(busy))
        await asyncio.sleep(0.1)
        assert {(await world.lanes.choose(MODEL)).url for _ in range(4)} == {"http://b"}
        assert {
            (await world.lanes.choose(MODEL, avoid=lane)).url
            for lane in world.lanes
            if lane.url == "http://b"
        } == {"http://a"}
        await asking

    tell(tmp_path, story)


def test_blocks_are_reported_and_the_servers_limit_of_rows_counts(tmp_path):
    async def story(world: World) -> None:
        world.serve("one", 7).release = served(7, max_rows=2)
        world.list("one")
        lane = await world.lanes.choose(MODEL)
        await asyncio.gather(*(ask(lane) for _ in range(5)))
        assert [len(block["carrier"]) for block in world.servers["http://one"].blocks] == [2, 2, 1]
        assert world.blocks == [(MODEL, 2), (MODEL, 2), (MODEL, 1)]

    tell(tmp_path, story)


def test_an_answer_that_cannot_be_trusted_fails_all_who_asked_and_the_lane_is_learnt_anew(tmp_path):
    async def story(world: World) -> None:
        server = world.serve("one", 7)
        world.list("one")
        lane = await world.lanes.choose(MODEL)
        server.answer = lambda columns, release: (
            honest_answer(columns, release) | {"columns": {"probability": [float("nan")]}}
        )
        with pytest.raises(AnswerWrong, match="probability = nan"):
            await ask(lane)
        assert world.versions == []
        assert await world.lanes.choose(MODEL) is not lane

    tell(tmp_path, story)


def test_an_endpoint_that_is_dead_for_hours_is_still_learnt_when_it_comes_back(tmp_path):
    async def story(world: World) -> None:
        world.list("one")
        await asyncio.sleep(6 * 3600)
        world.serve("one", 7)
        await asyncio.sleep(3)
        assert world.versions == [7]

    tell(tmp_path, story)


def test_a_schema_that_no_reader_can_be_built_from_is_said_and_harms_no_other_lane(
    tmp_path, caplog
):
    async def story(world: World) -> None:
        strange = served(8).io.model_copy(
            update={"features": (Feature(name="n", type="number", minimum=float("inf")),)}
        )
        world.serve("good", 7), world.serve("strange", 8)
        world.servers["http://strange"].release = served(8, io=strange)
        world.list("good", "strange")
        await asyncio.sleep(5)
        assert world.versions == [7]
        assert await ask(await world.lanes.choose(MODEL)) == 0.01

    tell(tmp_path, story)
    assert "no lane to http://strange" in caplog.text
