"""A server that cannot be asked is a fault of the server, whatever the HTTP client or the event loop below it raise."""

from __future__ import annotations

import asyncio
import re
import ssl

import anyio
import httpx2
import pytest

from client_api.errors import NoResponse
from client_api.upstream import Upstream


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


FAULTS = [httpx2.ReadError("reset"), RuntimeError("unable to perform operation; the handler is closed"), anyio.BusyResourceError("reading from"), OSError("?")]


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
@pytest.mark.parametrize("after_head", [False, True])
async def test_no_fault_below_http_becomes_one_of_the_gateway(fault, after_head):
    upstream = Upstream("http://127.0.0.1:1", tls=ssl.create_default_context())
    upstream._transport = Broken(fault, after_head=after_head)
    deadline = asyncio.get_running_loop().time() + 1
    with pytest.raises(NoResponse, match=re.escape(f"127.0.0.1:1/predict did not answer: {fault!r}")):
        await upstream.predict([{}], deadline=deadline)
