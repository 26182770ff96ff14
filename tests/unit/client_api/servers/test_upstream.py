"""A server that does not answer is a ServerFault, whatever the HTTP client or the loop raise."""

from __future__ import annotations

import asyncio
import json
import re
import ssl

import anyio
import httpx2
import pytest

from client_api.errors import NoResponse
from client_api.servers.upstream import Upstream
from serving.contract import AnswerBlock
from tests.fakes.upstream import served


class Broken(httpx2.AsyncByteStream):
    """A transport whose answer, or the reading of it, ends in `fault`."""

    def __init__(self, fault, *, after_head):
        self.fault, self.after_head = fault, after_head

    async def handle_async_request(self, request):
        if not self.after_head:
            raise self.fault
        return httpx2.Response(200, stream=self)

    async def __aiter__(self):
        raise self.fault
        yield b""

    async def aclose(self):
        pass


FAULTS = [
    httpx2.ReadError("reset"),
    RuntimeError("unable to perform operation; the handler is closed"),
    anyio.BusyResourceError("reading from"),
    OSError("?"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
@pytest.mark.parametrize("after_head", [False, True])
async def test_no_fault_below_http_becomes_one_of_the_gateway(fault, after_head):
    upstream = Upstream("http://127.0.0.1:1", tls=ssl.create_default_context())
    upstream._transport = Broken(fault, after_head=after_head)
    deadline = asyncio.get_running_loop().time() + 1
    with pytest.raises(
        NoResponse, match=re.escape(f"127.0.0.1:1/predict did not answer: {fault!r}")
    ):
        await upstream.predict([{}], deadline=deadline)


class Answering:
    """A transport that answers each request with the same bytes."""

    def __init__(self, content):
        self.content = content

    async def handle_async_request(self, request):
        return httpx2.Response(200, content=self.content)


def answering(value) -> Upstream:
    upstream = Upstream("http://127.0.0.1:1", tls=ssl.create_default_context())
    upstream._transport = Answering(json.dumps(value).encode())
    return upstream


def with_field_of_later(value):
    """Return a JSON value with a field more in each of its objects."""
    if isinstance(value, list):
        return [with_field_of_later(inner) for inner in value]
    if isinstance(value, dict):
        return {name: with_field_of_later(inner) for name, inner in value.items()} | {
            "field_of_later": 1
        }
    return value


async def test_fields_that_a_newer_server_adds_are_ignored():
    said = served(8).model_dump(mode="json")
    answer = {"columns": {"probability": [0.5]}, "version": 8, "image_digest": "sha256:8"}
    read = await answering(with_field_of_later(said)).metadata()
    assert read.model_copy(update={"example": {}}) == served(8)
    [block] = await answering([answer | {"field_of_later": 1}]).predict(
        [{}], deadline=asyncio.get_running_loop().time() + 1
    )
    assert block == AnswerBlock.model_validate(answer)


async def test_an_older_servers_metadata_without_title_and_example_is_read():
    said = served(8).model_dump(mode="json", exclude={"title", "example"})
    read = await answering(said).metadata()
    assert (read.version, read.title, read.example) == (8, "", {})
