"""The whole gateway in one process: a fault of ours is a problem without detail, and the log line is one."""

from __future__ import annotations

import json
import logging

import httpx2
import pytest

from client_api.app import create_app
from client_api.settings import Settings
from tests.fakes.upstream import ROW, ServerInMemory, served

PATH = "/v1/models/flight-delay:predict"


@pytest.fixture
def app(tmp_path):
    return create_app(Settings(endpoints=tmp_path / "endpoints.json", keys=("k",), access_log_share=1.0))


@pytest.fixture
def server(app, tmp_path) -> ServerInMemory:
    """The only server, its lane open after one look at the file."""
    server = ServerInMemory("http://one", served(8))
    (tmp_path / "endpoints.json").write_text('{"models": {"flight-delay": [{"url": "http://one"}]}}')
    app.state.gateway.lanes._connect = lambda _: server
    return server


async def ask(app, **more):
    app.state.gateway.lanes.observe()
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://gateway") as client:
        return await client.post(PATH, json={"instances": [ROW]}, headers={"authorization": "Bearer k", **more})


async def test_an_answered_request_is_one_line_of_json_without_rows_or_key(app, server, caplog):
    caplog.set_level(logging.INFO, "client_api.requests")
    answer = await ask(app, **{"x-request-id": "r-1"})
    assert answer.json() == {"predictions": [{"probability": 0.01}], "model_version": 8}
    [record] = [record for record in caplog.records if record.name == "client_api.requests"]
    line = json.loads(record.message)
    assert line.pop("ms") >= 0
    assert line == {"request_id": "r-1", "model": "flight-delay", "version": "8", "status": 200, "rows": 1}


async def test_a_fault_of_the_gateway_is_told_without_its_detail_and_logged_with_it(app, server, caplog):
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
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://gateway") as client:
        assert (await client.get("/readyz")).status_code == 503
        assert (await ask(app)).status_code == 200
        assert (await client.get("/readyz")).status_code == 200
        app.state.gateway.is_draining = True
        assert (await client.get("/readyz")).status_code == 503
        assert (await ask(app)).headers["connection"] == "close"
        assert (await client.get("/healthz")).status_code == 200
