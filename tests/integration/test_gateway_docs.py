"""/docs in a real browser shows the model's operation and loads nothing from another host."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.fakes.upstream import HttpServer, served
from tests.grounds.browser import open_page, why_no_browser
from tests.integration.test_gateway import AUTH, Gateway

TITLE = "Will this flight arrive more than 15 minutes late?"


@pytest.mark.skipif(bool(why_no_browser()), reason=why_no_browser())
async def test_the_docs_show_the_operation_and_load_nothing_from_elsewhere(tmp_path):
    gateway = Gateway(tmp_path)
    release = served(8).model_copy(
        update={"title": TITLE, "example": {"carrier": "UA", "distance": 719.0}}
    )
    try:
        async with (
            httpx2.AsyncClient(
                base_url=gateway.url, headers=AUTH, timeout=10, trust_env=False
            ) as client,
            HttpServer(release) as server,
        ):
            await gateway.follow(client, server)
            page = await asyncio.to_thread(open_page, gateway.url + "/docs", tmp_path / "browser")
    finally:
        gateway.program.stop()
    assert 'data-path="/v1/models/flight-delay:predict"' in page.dom
    assert TITLE in page.dom
    assert {urlsplit(address).netloc for address in page.asked} == {f"127.0.0.1:{gateway.port}"}
    paths = {urlsplit(address).path for address in page.asked}
    assert {
        "/docs/swagger-ui-bundle.js",
        "/docs/swagger-ui.css",
        "/docs/start.js",
        "/openapi.json",
        "/favicon.ico",
    } <= paths


async def test_the_page_names_no_other_host_and_every_file_it_names_is_there(tmp_path):
    gateway = Gateway(tmp_path)
    try:
        async with httpx2.AsyncClient(base_url=gateway.url, timeout=10, trust_env=False) as client:
            page = await client.get("/docs")
            assert "//" not in page.text
            assert "default-src 'none'" in page.headers["content-security-policy"]
            kinds = {
                "docs/swagger-ui-bundle.js": "javascript",
                "docs/swagger-ui.css": "css",
                "docs/start.js": "javascript",
                "favicon.ico": "svg",
            }
            for path, kind in kinds.items():
                assert path in page.text
                answer = await client.get(f"/{path}")
                assert (answer.status_code, kind in answer.headers["content-type"]) == (200, True)
    finally:
        gateway.program.stop()
