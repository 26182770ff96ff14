"""The whole gateway in one process: a defect becomes a problem without detail, and one log line."""

from __future__ import annotations

import asyncio
import json
import logging

import httpx2
import pytest

from client_api.app import create_app
from client_api.servers import lanes
from client_api.servers.endpoints import ANY_MODEL
from client_api.settings import Settings
from tests.fakes.upstream import ROW, ServerInMemory, served

PATH = "/v1/models/flight-delay:predict"


@pytest.fixture
def app(tmp_path):
    return create_app(
        Settings(endpoints=tmp_path / "endpoints.json", keys=("k",), access_log_share=1.0)
    )


@pytest.fixture
def server(app, tmp_path) -> ServerInMemory:
    """The only server, its lane open after one look at the file."""
    server = ServerInMemory("http://one", served(8))
    (tmp_path / "endpoints.json").write_text(
        '{"models": {"flight-delay": [{"url": "http://one"}]}}'
    )
    app.state.gateway.lanes._connect = lambda _: server
    return server


async def ask(app, **more):
    app.state.gateway.lanes.observe()
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app), base_url="http://gateway"
    ) as client:
        return await client.post(
            PATH, json={"instances": [ROW]}, headers={"authorization": "Bearer k", **more}
        )


async def test_an_answered_request_is_one_line_of_json_without_rows_or_key(app, server, caplog):
    caplog.set_level(logging.INFO, "client_api.requests")
    answer = await ask(app, **{"x-request-id": "r-1"})
    assert answer.json() == {"predictions": [{"probability": 0.01}], "model_version": 8}
    [record] = [record for record in caplog.records if record.name == "client_api.requests"]
    line = json.loads(record.message)
    assert line.pop("ms") >= 0
    assert line == {
        "request_id": "r-1",
        "model": "flight-delay",
        "version": "8",
        "status": 200,
        "rows": 1,
    }


async def test_a_fault_of_the_gateway_is_told_without_its_detail_and_logged_with_it(
    app, server, caplog
):
    def broken(columns, release):
        raise ZeroDivisionError("secret")

    server.answer = broken
    answer = await ask(app)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert "secret" not in answer.text
    assert "ZeroDivisionError: secret" in caplog.text


async def test_unready_without_a_lane_and_while_draining(app, server):
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app), base_url="http://gateway"
    ) as client:
        assert (await client.get("/readyz")).status_code == 503
        assert (await ask(app)).status_code == 200
        assert (await client.get("/readyz")).status_code == 200
        app.state.gateway.is_draining = True
        assert (await client.get("/readyz")).status_code == 503
        assert (await ask(app)).headers["connection"] == "close"
        assert (await client.get("/healthz")).status_code == 200


class OneSilentServer:
    """A Directory in DNS mode, with one server that has not yet said what it serves."""

    def read(self) -> dict[str, tuple[str, ...]]:
        return {ANY_MODEL: ("http://silent",)}

    def close(self) -> None:
        pass


@pytest.fixture
def learning(app):
    """A gateway that learns a server: any name may be a model's."""
    app.state.gateway.lanes._directory = OneSilentServer()
    app.state.gateway.lanes._connect = ServerInMemory
    return app


def series(app) -> set[str]:
    lines = app.state.gateway.measures.to_bytes().decode().splitlines()
    return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}


async def statuses_of(app, models, **headers) -> set[int]:
    app.state.gateway.lanes.observe()
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app), base_url="http://gateway"
    ) as client:
        asked = [
            client.post(f"/v1/models/{model}:predict", json={"instances": [ROW]}, headers=headers)
            for model in models
        ]
        return {answer.status_code for answer in await asyncio.gather(*asked)}


async def test_a_request_without_a_valid_key_makes_no_series(learning):
    before = series(learning)
    assert await statuses_of(learning, [f"name-{number}" for number in range(200)]) == {401}
    assert await statuses_of(learning, ["a", "b"], authorization="Bearer guess") == {401}
    assert series(learning) == before
    assert 'gateway_requests_total{model="unknown",status="401",version=""}' in before
    await learning.state.gateway.lanes.close()


async def test_a_request_without_a_key_makes_no_series_for_a_model_that_exists_either(app, server):
    assert (await ask(app)).status_code == 200
    before = series(app)
    assert await statuses_of(app, ["flight-delay", "another"]) == {401}
    assert series(app) == before


async def test_names_that_no_server_names_share_one_label(learning, caplog, monkeypatch):
    monkeypatch.setattr(lanes, "LANE_WAIT_SECONDS", 0.01)
    models = [f"name-{number}\nforged" for number in range(20)]
    before = series(learning)
    assert await statuses_of(
        learning, [model.replace("\n", "%0A") for model in models], authorization="Bearer k"
    ) == {503}
    assert {line for line in series(learning) - before if 'model="unknown"' not in line} == set()
    assert "forged" not in caplog.text
    await learning.state.gateway.lanes.close()
