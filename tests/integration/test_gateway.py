"""The gateway as a process over real HTTP, before servers that lie, hang, reset and are killed.

Some tests use a real BentoML server.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest

from infra.local.processes import Program, free_port, start, wait_until_answers
from tests.fakes.upstream import ROW, HttpServer, served
from tests.grounds.model_folders import make_model_folder

ROOT = Path(__file__).parents[2]
PATH = "/v1/models/flight-delay:predict"
AUTH = {"authorization": "Bearer key-1"}
DEADLINE_SECONDS = 1.0


class Gateway:
    """A gateway process, its endpoints file, and a client of it."""

    def __init__(self, folder: Path, **more: str) -> None:
        self.file = folder / "endpoints.json"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        settings = {
            "ENDPOINTS": str(self.file),
            "KEYS": "key-1,key-2",
            "PORT": str(self.port),
            "DEADLINE_SECONDS": str(DEADLINE_SECONDS),
            "MAX_BODY_BYTES": "20000",
        }
        env = {f"CLIENT_API_{name}": value for name, value in (settings | more).items()}
        self.program: Program = start(
            "gateway",
            [sys.executable, "-m", "client_api"],
            log=folder / "gateway.log",
            env=env,
            cwd=ROOT,
        )
        wait_until_answers(self.program, self.url + "/healthz")

    async def follow(self, client: httpx2.AsyncClient, *servers: HttpServer) -> None:
        """Name the servers in the endpoints file and wait until all have a lane."""
        self.list(*(server.url for server in servers))
        for _ in range(100):
            figures = (await client.get("/metrics")).text
            if {
                f'version="{server.release.version}"'
                in figures.partition("gateway_waiting_rows")[2]
                for server in servers
            } == {True}:
                await asyncio.sleep(
                    0.3
                )  # of two servers of one version the second may be a poll behind
                return
            await asyncio.sleep(0.05)
        raise AssertionError(self.program.log_tail())

    def list(self, *urls: str) -> None:
        half_written = self.file.with_suffix(".new")
        half_written.write_text(
            json.dumps({"models": {"flight-delay": [{"url": url} for url in urls]}})
        )
        half_written.replace(self.file)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory) -> Iterator[Gateway]:
    running = Gateway(tmp_path_factory.mktemp("gateway"))
    yield running
    running.program.stop()


@pytest.fixture
async def client(gateway):
    async with httpx2.AsyncClient(
        base_url=gateway.url, headers=AUTH, timeout=10, trust_env=False
    ) as client:
        yield client


def instances(*distances: float) -> dict[str, object]:
    return {"instances": [ROW | {"distance": distance} for distance in distances]}


async def ask(client, *distances: float):
    return await client.post(PATH, json=instances(*(distances or (100,))))


async def test_an_answer_carries_prediction_version_image_and_request_id(gateway, client):
    async with HttpServer(served(8)) as server:
        await gateway.follow(client, server)
        answer = await client.post(
            PATH, json=instances(100, 200), headers={"x-request-id": "phone-7"}
        )
        assert answer.status_code == 200
        assert answer.json() == {
            "predictions": [{"probability": 0.01}, {"probability": 0.02}],
            "model_version": 8,
        }
        assert answer.headers["ratchet-model-version"] == "8"
        assert answer.headers["ratchet-image-digest"] == server.release.image_digest
        assert answer.headers["x-request-id"] == "phone-7"


async def test_many_callers_share_few_calls_and_each_gets_his_own_rows(gateway, client):
    async with HttpServer(served(8), ["late"]) as server:
        await gateway.follow(client, server)
        answers = await asyncio.gather(
            *(ask(client, number, 5000 + number) for number in range(60))
        )
        assert [[p["probability"] for p in answer.json()["predictions"]] for answer in answers] == [
            [n / 10_000, (5000 + n) / 10_000] for n in range(60)
        ]
        assert server.requests <= 6


@pytest.mark.parametrize(
    "conduct",
    [
        "another version",
        "another image",
        "too few rows",
        "too many rows",
        "too few blocks",
        "NaN",
        "out of range",
        "another column",
        "not JSON",
        "500",
    ],
)
async def test_a_server_that_lies_is_a_clear_502_for_all_who_asked_and_is_not_quoted(
    gateway, client, conduct
):
    async with HttpServer(served(8), ["late", conduct, "honest"]) as server:
        await gateway.follow(client, server)
        first, *others = await asyncio.gather(*(ask(client, number) for number in range(8)))
        assert first.json()["predictions"] == [{"probability": 0.0}]
        assert {answer.status_code for answer in others} == {502}
        assert {answer.headers["content-type"] for answer in others} == {"application/problem+json"}
        assert "secret" not in others[0].text
        assert "127.0.0.1" not in others[0].text
        assert server.requests == 2, "an answer that came, however wrong, is not asked for again"
        assert (await ask(client, 77)).json()["predictions"] == [{"probability": 0.0077}]


async def test_rows_that_the_server_refuses_fail_their_own_request_only(gateway, client):
    async with HttpServer(served(8), ["late", "refuses far flights"]) as server:
        await gateway.follow(client, server)
        answers = await asyncio.gather(*(ask(client, distance) for distance in (1, 2, 9_500, 3)))
        assert [answer.status_code for answer in answers] == [200, 200, 422, 200]
        assert answers[2].json()["detail"] == "too far"
        assert answers[3].json()["predictions"] == [{"probability": 0.0003}]


async def test_a_bad_request_fails_alone_and_names_the_place(gateway, client):
    async with HttpServer(served(8), ["late"]) as server:
        await gateway.follow(client, server)
        answers = await asyncio.gather(ask(client, 1), ask(client, 1, 2, 3, -4), ask(client, 5))
        assert [answer.status_code for answer in answers] == [200, 422, 200]
        assert answers[1].json()["errors"] == [
            {"pointer": "/instances/3/distance", "detail": "must be at least 0 miles, is -4"}
        ]


@pytest.mark.parametrize("conduct", ["resets", "half an answer", "hangs"])
async def test_no_whole_response_is_tried_once_more_on_another_server_and_a_timeout_is_not(
    gateway, client, conduct
):
    async with HttpServer(served(8), [conduct]) as bad, HttpServer(served(8)) as good:
        await gateway.follow(client, bad, good)
        answers = await asyncio.gather(*(ask(client, number) for number in range(10)))
        statuses = {answer.status_code for answer in answers}
        assert bad.requests >= 1
        assert statuses == ({200, 504} if conduct == "hangs" else {200})
        right = [answer for answer in answers if answer.status_code == 200]
        assert all(
            answer.json()["predictions"] == [{"probability": answers.index(answer) / 10_000}]
            for answer in right
        )


async def test_with_nobody_else_to_ask_no_response_is_a_503_and_only_one_call(gateway, client):
    async with HttpServer(served(8), ["resets"]) as server:
        await gateway.follow(client, server)
        answer = await ask(client)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert server.requests <= 2


@pytest.mark.parametrize("conduct", ["hangs", "drips"])
async def test_no_caller_waits_much_longer_than_the_deadline_and_the_lane_recovers(
    gateway, client, conduct
):
    async with HttpServer(served(8), [conduct, "honest"]) as server:
        await gateway.follow(client, server)
        began = asyncio.get_running_loop().time()
        answer = await ask(client)
        assert answer.status_code == 504
        assert asyncio.get_running_loop().time() - began < DEADLINE_SECONDS + 0.5
        assert (await ask(client, 3)).status_code == 200


def head(length: int) -> str:
    """A request line and headers, as a caller sends them."""
    lines = (
        f"POST {PATH} HTTP/1.1",
        "host: x",
        "authorization: Bearer key-1",
        "content-type: application/json",
        f"content-length: {length}",
    )
    return "\r\n".join((*lines, "", ""))


async def test_the_rows_of_a_caller_who_hung_up_are_not_sent(gateway, client):
    async with HttpServer(served(8), ["late", "honest"]) as server:
        await gateway.follow(client, server)
        first = asyncio.ensure_future(ask(client, 1))
        await asyncio.sleep(0.05)
        body = json.dumps(instances(666)).encode()
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head(len(body)).encode() + body)
        await writer.drain()
        await asyncio.sleep(0.03)
        writer.close()
        assert (await first).status_code == 200
        await asyncio.sleep(0.1)
        assert server.requests == 1


async def test_a_rollout_drops_no_request_and_none_of_the_old_answers_after_it(gateway, client):
    async with HttpServer(served(8)) as old, HttpServer(served(9)) as new:
        await gateway.follow(client, old)
        seen: list[tuple[float, int, int]] = []
        loop = asyncio.get_running_loop()
        switched_at = loop.time() + 0.5

        async def call() -> None:
            while (now := loop.time()) < switched_at + 1.0:
                answer = await ask(client, 5)
                seen.append((now, answer.status_code, answer.json().get("model_version", 0)))

        loop.call_at(switched_at, gateway.list, new.url)
        await asyncio.gather(*(call() for _ in range(8)))
        assert {status for _, status, _ in seen} == {200}
        assert {version for _, _, version in seen} == {8, 9}
        assert {version for at, _, version in seen if at > switched_at + 0.5} == {9}


async def test_keys_media_types_methods_models_and_sizes_are_refused_as_problems(gateway, client):
    async with HttpServer(served(8)) as server:
        await gateway.follow(client, server)
        asked = {
            401: client.post(PATH, json=instances(1), headers={"authorization": "Bearer key-3"}),
            404: client.post("/v1/models/another:predict", json=instances(1)),
            405: client.get(PATH),
            413: client.post(
                PATH, content=b" " * 20_001, headers={"content-type": "application/json"}
            ),
            415: client.post(PATH, content=b"{}", headers={"content-type": "text/plain"}),
            422: client.post(
                PATH, content=b"[" * 15_000, headers={"content-type": "application/json"}
            ),
        }
        for status, asking in asked.items():
            answer = await asking
            assert (answer.status_code, answer.headers["content-type"]) == (
                status,
                "application/problem+json",
            )
            assert answer.json()["status"] == status
            assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert (await client.get("/nowhere")).json()["status"] == 404

        async def unannounced():
            for _ in range(500):
                yield b" " * 1000

        answer = await client.post(
            PATH, content=unannounced(), headers={"content-type": "application/json"}
        )
        assert (answer.status_code, answer.json()["title"]) == (413, "body too large")
        assert (await ask(client)).status_code == 200
        assert server.requests == 1


async def test_a_body_that_trickles_is_ended_and_holds_up_nobody(tmp_path):
    gateway = Gateway(tmp_path, BODY_SECONDS="0.8")

    async def trickle() -> tuple[float, bytes]:
        """Send a byte every 0.05 s until the gateway hangs up; return when, and what it said."""
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        began = asyncio.get_running_loop().time()
        writer.write(head(5000).encode())
        answer = asyncio.ensure_future(reader.read())
        while not answer.done() and asyncio.get_running_loop().time() - began < 5:
            writer.write(b" ")
            await asyncio.sleep(0.05)
        writer.close()
        return asyncio.get_running_loop().time() - began, await asyncio.wait_for(answer, 1)

    try:
        async with (
            httpx2.AsyncClient(
                base_url=gateway.url, headers=AUTH, timeout=10, trust_env=False
            ) as client,
            HttpServer(served(8)) as server,
        ):
            await gateway.follow(client, server)
            trickling = [asyncio.ensure_future(trickle()) for _ in range(30)]
            await asyncio.sleep(0.3)
            assert (await ask(client, 3)).json()["predictions"] == [{"probability": 0.0003}]
            assert (
                'gateway_waiting_rows{model="flight-delay",version="8"} 0.0'
                in (await client.get("/metrics")).text
            )
            for seconds, said in await asyncio.gather(*trickling):
                answered_head, _, body = said.lower().partition(b"\r\n\r\n")
                assert answered_head.startswith(b"http/1.1 408 ")
                assert b"connection: close" in answered_head
                assert b"content-type: application/problem+json" in answered_head
                assert json.loads(body)["detail"] == (
                    "the body did not arrive within 0.8 s: send it faster, or in smaller requests"
                )
                assert 0.7 < seconds < 3
            assert server.requests == 1
    finally:
        gateway.program.stop()


async def test_a_hostile_request_id_is_replaced(gateway, client):
    async with HttpServer(served(8)) as server:
        await gateway.follow(client, server)
        for hostile in ("a b", "<script>", "x" * 200, 'a"b'):
            answer = await client.post(PATH, json=instances(1), headers={"x-request-id": hostile})
            assert len(answer.headers["x-request-id"]) == 16


async def test_the_description_has_the_models_real_fields_and_changes_with_its_schema(
    gateway, client
):
    def fields(description) -> set[str]:
        return set(description["components"]["schemas"]["FlightDelayInstance"]["properties"])

    async with HttpServer(served(8)) as old:
        await gateway.follow(client, old)
        assert fields((await client.get("/openapi.json")).json()) == {
            "carrier",
            "distance",
            "wind_speed",
        }
        assert (await client.get("/docs")).status_code == 200
        narrower = old.release.io.model_copy(update={"features": old.release.io.features[:2]})
        async with HttpServer(served(9, io=narrower)) as new:
            await gateway.follow(client, new)
            assert fields((await client.get("/openapi.json")).json()) == {"carrier", "distance"}
            answer = await client.post(PATH, json={"instances": [ROW | {"wind_speed": 3}]})
            assert answer.json()["errors"][0]["pointer"] == "/instances/0/wind_speed"


async def test_figures_count_requests_by_version_and_status_and_rows_of_blocks(gateway, client):
    async with HttpServer(served(41)) as server:
        await gateway.follow(client, server)
        await ask(client, 1, 2, 3)
        await ask(client, -1)
        figures = (await client.get("/metrics")).text
        assert (
            'gateway_requests_total{model="flight-delay",status="200",version="41"} 1.0' in figures
        )
        assert (
            'gateway_requests_total{model="flight-delay",status="422",version="41"} 1.0' in figures
        )
        assert 'gateway_block_rows_bucket{le="4.0",model="flight-delay"}' in figures


async def test_it_is_ready_with_a_lane_and_drains_on_sigterm(tmp_path):
    gateway = Gateway(tmp_path, DRAIN_SECONDS="0.6")
    async with AsyncExitStack() as stack:
        stack.callback(gateway.program.stop)
        client = await stack.enter_async_context(
            httpx2.AsyncClient(base_url=gateway.url, headers=AUTH, timeout=10, trust_env=False)
        )
        assert (await client.get("/readyz")).status_code == 503
        server = await stack.enter_async_context(
            HttpServer(served(8), ["honest", "honest", "late"])
        )
        await gateway.follow(client, server)
        assert (await client.get("/readyz")).json() == {
            "status": "ready",
            "models": ["flight-delay"],
        }
        assert "connection" not in (await ask(client)).headers
        os.kill(gateway.program.process.pid, signal.SIGTERM)
        await asyncio.sleep(0.2)
        assert (await client.get("/readyz")).status_code == 503
        draining = await ask(client)
        assert (draining.status_code, draining.headers["connection"]) == (200, "close")
        await asyncio.sleep(0.3)
        in_flight = await ask(client, 7)  # the server takes longer than the listener lives
        assert in_flight.json()["predictions"] == [{"probability": 0.0007}]
        assert await asyncio.to_thread(gateway.program.process.wait, 8) == -signal.SIGTERM, (
            "uvicorn ends by the signal once all is answered"
        )


async def test_a_port_that_is_taken_is_said_and_ends_the_process(gateway, tmp_path):
    env = {
        "CLIENT_API_ENDPOINTS": str(tmp_path / "e.json"),
        "CLIENT_API_KEYS": "k",
        "CLIENT_API_PORT": str(gateway.port),
    }
    second = start(
        "second", [sys.executable, "-m", "client_api"], log=tmp_path / "log", env=env, cwd=ROOT
    )
    assert await asyncio.to_thread(second.process.wait, 30) != 0
    assert "address already in use" in second.log_tail()


def bentoml(folder: Path, name: str, *, version: int, seed: int) -> tuple[Program, str]:
    card = make_model_folder(folder / name, seed=seed)
    port = free_port()
    env = {"FOLDER": str(folder / name), "DIGEST": card.model_digest}
    env = {f"SERVING_MODEL_{key}": value for key, value in env.items()}
    env |= {
        "SERVING_VERSION": str(version),
        "SERVING_IMAGE_DIGEST": f"sha256:{version:064x}",
        "SERVING_PORT": str(port),
    }
    return start(
        name, [sys.executable, "-m", "serving"], log=folder / f"{name}.log", env=env, cwd=ROOT
    ), f"http://127.0.0.1:{port}"


async def test_with_real_servers_one_killed_in_flight_costs_nobody_the_answer(
    gateway, client, tmp_path
):
    servers = [bentoml(tmp_path, name, version=8, seed=0) for name in ("first", "second")]
    row = {"carrier": "never seen", "distance": 733, "hour": 17, "weekend": False}
    try:
        for program, url in servers:
            await asyncio.to_thread(wait_until_answers, program, url + "/readyz")
        gateway.list(*(url for _, url in servers))
        await asyncio.sleep(1.0)
        loop = asyncio.get_running_loop()
        ends_at, answers = loop.time() + 2.0, []

        async def call() -> None:
            while loop.time() < ends_at or len(answers) <= 100:  # a busy machine takes longer
                answers.append(await client.post(PATH, json={"instances": [row]}))

        loop.call_later(0.7, os.killpg, servers[0][0].process.pid, signal.SIGKILL)
        await asyncio.gather(*(call() for _ in range(32)))
        assert not servers[0][0].is_running
        assert len(answers) > 100
        assert [answer.text for answer in answers if answer.status_code != 200] == [], (
            gateway.program.log_tail(200)
        )
        assert len({answer.text for answer in answers}) == 1
        assert 0 < answers[0].json()["predictions"][0]["probability"] < 1
    finally:
        for program, _ in servers:
            program.stop()
