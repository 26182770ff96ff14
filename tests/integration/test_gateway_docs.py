"""The page /docs in a real browser: it shows the model's operation and loads nothing from another host."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.fakes.upstream import HttpServer, served
from tests.integration.test_gateway import AUTH, Gateway

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
TITLE = "Will this flight arrive more than 15 minutes late?"


def rendered(url: str, folder: Path) -> tuple[str, set[str]]:
    """Return the page's elements once its scripts have run, and the addresses that the page asked for.

    Chromium asks its makers' hosts of its own accord; such requests have no page as their initiator.
    """
    log = folder / "net.json"
    own = [f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}", "--virtual-time-budget=10000", "--dump-dom", url]
    done = subprocess.run([str(CHROMIUM), *FLAGS, *own], capture_output=True, text=True, timeout=120, check=True)
    events = json.loads(log.read_text())["events"]
    asked = [event["params"] for event in events if "initiator" in event.get("params", {})]
    return done.stdout, {one["url"] for one in asked if one["initiator"] != "not an origin"}


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
async def test_the_docs_show_the_operation_and_load_nothing_from_elsewhere(tmp_path):
    gateway = Gateway(tmp_path)
    release = served(8).model_copy(update={"title": TITLE, "example": {"carrier": "UA", "distance": 719.0}})
    try:
        async with httpx2.AsyncClient(base_url=gateway.url, headers=AUTH, timeout=10, trust_env=False) as client, HttpServer(release) as server:
            await gateway.follow(client, server)
            page, asked = await asyncio.to_thread(rendered, gateway.url + "/docs", tmp_path)
    finally:
        gateway.program.stop()
    assert 'data-path="/v1/models/flight-delay:predict"' in page
    assert TITLE in page
    assert {urlsplit(address).netloc for address in asked} == {f"127.0.0.1:{gateway.port}"}
    paths = {urlsplit(address).path for address in asked}
    assert {"/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/docs/start.js", "/openapi.json", "/favicon.ico"} <= paths


async def test_the_page_names_no_other_host_and_every_file_it_names_is_there(tmp_path):
    gateway = Gateway(tmp_path)
    try:
        async with httpx2.AsyncClient(base_url=gateway.url, timeout=10, trust_env=False) as client:
            page = await client.get("/docs")
            assert "//" not in page.text
            assert "default-src 'none'" in page.headers["content-security-policy"]
            kinds = {"docs/swagger-ui-bundle.js": "javascript", "docs/swagger-ui.css": "css", "docs/start.js": "javascript", "favicon.ico": "svg"}
            for path, kind in kinds.items():
                assert path in page.text
                answer = await client.get(f"/{path}")
                assert (answer.status_code, kind in answer.headers["content-type"]) == (200, True)
    finally:
        gateway.program.stop()
