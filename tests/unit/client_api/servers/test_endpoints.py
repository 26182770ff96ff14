"""Servers behind a DNS name: each says what it serves. An outage of the DNS is no absence.

Time is virtual. The DNS and the servers are in memory.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from pydantic import ValidationError

from client_api.errors import ModelUnknown, NoLane
from client_api.servers.lanes import Lanes
from client_api.settings import DnsName, Settings
from tests.fakes.upstream import ServerInMemory, reader_of, served
from tests.fakes.virtual_time import run

MODEL = "flight-delay"
PLACE = "dns:servers.models.svc.cluster.local:3000"


class World:
    """A name with addresses, and a server at each."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.outage: OSError | None = None
        self.seconds = 0.0
        self.asked: list[tuple[str, int]] = []
        self.servers: dict[str, ServerInMemory] = {}
        self.lanes = Lanes(
            Settings(endpoints=PLACE, keys=("k",)),
            connect=self.connect,
            reader_of=reader_of,
            on_block=lambda *_: None,
        )

    def connect(self, url: str) -> ServerInMemory:
        return self.servers.setdefault(url, ServerInMemory(url))

    def serve(self, address: str, version: int, model: str = MODEL) -> ServerInMemory:
        server = self.connect(
            f"http://[{address}]:3000" if ":" in address else f"http://{address}:3000"
        )
        server.release = served(version).model_copy(update={"model": model})
        return server

    async def resolve(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked.append((host, port))
        await asyncio.sleep(self.seconds)
        if self.outage:
            raise self.outage
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in self.addresses
        ]

    async def choose(self, model: str = MODEL) -> int:
        return (await self.lanes.choose(model)).served.version


def tell(story: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        world = World()
        asyncio.get_running_loop().getaddrinfo = world.resolve  # type: ignore[method-assign]  # the DNS of this story
        following = asyncio.ensure_future(world.lanes.follow())
        await story(world)
        following.cancel()
        await world.lanes.close()
        assert all(server.is_closed for server in world.servers.values())

    run(main())


def test_every_address_is_a_lane_to_the_model_that_its_server_names():
    async def story(world: World) -> None:
        world.serve("10.0.0.1", 7), world.serve("10.0.0.2", 7), world.serve("fd00::3", 3, "churn")
        world.addresses = ["10.0.0.1", "10.0.0.2", "fd00::3"]
        assert await world.choose() == 7
        assert await world.choose("churn") == 3
        assert sorted(lane.url for lane in world.lanes) == [
            "http://10.0.0.1:3000",
            "http://10.0.0.2:3000",
            "http://[fd00::3]:3000",
        ]
        assert world.asked[0] == ("servers.models.svc.cluster.local", 3000)

    tell(story)


def test_an_address_that_is_gone_is_no_longer_asked_once_another_answers():
    async def story(world: World) -> None:
        world.serve("10.0.0.1", 7), world.serve("10.0.0.2", 8)
        world.addresses = ["10.0.0.1"]
        assert await world.choose() == 7
        world.addresses = ["10.0.0.2"]
        await asyncio.sleep(1.5)
        assert [lane.served.version for lane in world.lanes] == [8]

    tell(story)


@pytest.mark.parametrize(
    "outage",
    [
        socket.gaierror(socket.EAI_AGAIN, "try again"),
        socket.gaierror(socket.EAI_NONAME, "no name"),
        OSError("no network"),
    ],
)
def test_when_the_dns_does_not_answer_the_last_addresses_count(outage):
    async def story(world: World) -> None:
        world.serve("10.0.0.1", 7)
        world.addresses = ["10.0.0.1"]
        assert await world.choose() == 7
        world.outage = outage
        await asyncio.sleep(60)
        assert await world.choose() == 7
        world.outage, world.addresses = None, ["10.0.0.2"]
        world.serve("10.0.0.2", 8)
        await asyncio.sleep(1.5)
        assert await world.choose() == 8

    tell(story)


def test_a_dns_that_hangs_holds_up_no_lane_and_is_asked_once_at_a_time():
    async def story(world: World) -> None:
        server = world.serve("10.0.0.1", 7)
        world.addresses = ["10.0.0.1"]
        assert await world.choose() == 7
        world.seconds = 3600.0
        await asyncio.sleep(30)
        assert len(world.asked) == 2
        [lane] = world.lanes
        lane.is_broken = True
        server.release = served(8)
        await asyncio.sleep(0.5)
        assert await world.choose() == 8

    tell(story)


def test_a_model_that_no_server_names_is_unknown_only_after_all_have_said_theirs():
    async def story(world: World) -> None:
        with pytest.raises(NoLane):
            await world.choose("churn")
        world.connect("http://10.0.0.1:3000")
        world.addresses = ["10.0.0.1"]
        await asyncio.sleep(1.5)
        with pytest.raises(NoLane):
            await world.choose("churn")
        world.serve("10.0.0.1", 7)
        await asyncio.sleep(2.5)
        with pytest.raises(ModelUnknown, match=f"there are: {MODEL}$"):
            await world.choose("churn")

    tell(story)


def test_a_model_whose_last_server_left_is_still_known():
    async def story(world: World) -> None:
        world.serve("10.0.0.1", 7), world.serve("10.0.0.2", 3, "churn")
        world.addresses = ["10.0.0.1", "10.0.0.2"]
        assert await world.choose("churn") == 3
        world.addresses = ["10.0.0.1"]
        await asyncio.sleep(10)
        with pytest.raises(NoLane):
            await world.choose("churn")

    tell(story)


@pytest.mark.parametrize(
    "given",
    [
        "dns:",
        "dns:host",
        "dns:host:",
        "dns:host:0",
        "dns:host:65536",
        "dns:ho st:3000",
        "dns:host:3000/x",
    ],
)
def test_a_name_without_a_port_is_refused_at_start(given):
    with pytest.raises(ValidationError, match="write dns:<name>:<port>"):
        Settings(endpoints=given, keys=("k",))


def test_the_environment_names_a_file_or_a_dns_name(monkeypatch, tmp_path):
    monkeypatch.setenv("CLIENT_API_KEYS", "k")
    for given, found in [
        (PLACE, DnsName("servers.models.svc.cluster.local", 3000)),
        (str(tmp_path), tmp_path),
    ]:
        monkeypatch.setenv("CLIENT_API_ENDPOINTS", given)
        assert Settings().endpoints == found


@pytest.mark.parametrize("token", ["", "short"])
def test_a_token_that_protects_nothing_is_refused_at_start(token, tmp_path):
    with pytest.raises(ValidationError):
        Settings(endpoints=tmp_path, keys=("k",), serving_token=token)
