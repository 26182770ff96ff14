"""`POST /v1/models/{model}:predict`: from a caller's bytes to the answer's bytes.

A bare ASGI endpoint: FastAPI's routing and wrapping cost half of a request (docs/facts.md).
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from dataclasses import dataclass, field

from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from client_api.admission import check_bytes, check_declared_bytes, check_media_type, request_id
from client_api.errors import BodyTooSlow, CallerLeft, GatewayError, NoResponse, ServerFault
from client_api.measures import UNKNOWN
from client_api.problems import (
    ASK_OPERATOR,
    DEFECT,
    PROBLEM_JSON,
    Reply,
    problem,
    problem_of,
)
from client_api.routes.gateway import Gateway
from client_api.servers.lane import Lane
from client_api.servers.upstream import Prediction

log = logging.getLogger("client_api.requests")
JSON = (b"content-type", b"application/json")
LATE_BODY = "the body did not arrive within {seconds:g} s: send it faster, or in smaller requests"
CLOSE = (b"connection", b"close")
WATCH_AFTER_SECONDS = 0.05
"""The gateway watches for a hang-up after this time. Earlier watching costs 10 % of a request."""


@dataclass(slots=True)
class Exchange:
    """One request and the facts so far. Headers, measures and the log are written from these."""

    receive: Receive
    headers: dict[bytes, bytes]
    model: str
    request_id: str
    started_at: float = field(default_factory=time.perf_counter)
    lane: Lane | None = None
    rows: int = 0
    has_key: bool = False
    body_is_late: bool = False
    caller_left: bool = False


class Predict:
    """`POST /v1/models/{model}:predict`."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._keyring = gateway.keyring
        self._lanes = gateway.lanes
        self._settings = gateway.settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Every fault becomes a problem."""
        headers = dict(scope["headers"])
        exchange = Exchange(
            receive,
            headers,
            scope["path_params"]["model"],
            request_id(headers.get(b"x-request-id"), fresh=secrets.token_hex(8)),
        )
        try:
            reply = await self._reply(exchange)
        except CallerLeft:
            return
        except GatewayError as error:
            if isinstance(error, ServerFault):
                log.warning("request %s of %s: %s", exchange.request_id, exchange.model, error)
            reply = problem_of(error, request_id=exchange.request_id)
        except Exception:  # the edge: a defect is logged and answered without its detail
            log.exception("request %s of %r", exchange.request_id, exchange.model)
            body = problem(*DEFECT, ASK_OPERATOR, request_id=exchange.request_id)
            reply = Reply(DEFECT[0], (PROBLEM_JSON,), body)
        self._account(exchange, reply.status)
        await self._send(exchange, reply, send)

    async def _reply(self, exchange: Exchange) -> Reply:
        self._keyring.check(exchange.headers.get(b"authorization"))
        exchange.has_key = True
        check_media_type(exchange.headers)
        body = await self._body_in_time(exchange)
        predictions = await self._while_there(exchange, body)
        version = exchange.lane.served.version if exchange.lane else 0
        answer = {"predictions": predictions, "model_version": version}
        return Reply(200, (JSON,), to_json(answer))

    async def _body_in_time(self, exchange: Exchange) -> bytes:
        """Read the body for at most `body_seconds`.

        A timer costs 4 µs with uvloop, asyncio.timeout 12 µs.
        """
        reading = asyncio.current_task()
        seconds = self._settings.body_seconds
        timer = asyncio.get_running_loop().call_later(seconds, self._give_up, exchange, reading)
        try:
            return await self._body(exchange)
        except asyncio.CancelledError:
            if exchange.body_is_late:
                raise BodyTooSlow(LATE_BODY.format(seconds=seconds)) from None
            raise
        finally:
            timer.cancel()

    @staticmethod
    def _give_up(exchange: Exchange, reading: asyncio.Task[object] | None) -> None:
        exchange.body_is_late = True
        if reading is not None:
            reading.cancel()

    async def _body(self, exchange: Exchange) -> bytes:
        limit = self._settings.max_body_bytes
        check_declared_bytes(exchange.headers, max_body_bytes=limit)
        parts: list[bytes] = []
        received_bytes = 0
        while True:
            message = await exchange.receive()
            if message["type"] == "http.disconnect":
                raise CallerLeft
            part = message.get("body", b"")
            received_bytes += len(part)
            check_bytes(received_bytes, max_body_bytes=limit)
            parts.append(part)
            if not message.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _while_there(self, exchange: Exchange, body: bytes) -> list[Prediction]:
        """Ask, and stop when the caller hangs up. Most answers come before the watch starts."""
        loop, asking = asyncio.get_running_loop(), asyncio.current_task()
        watching: list[asyncio.Task[None]] = []

        def watch() -> None:
            watching.append(loop.create_task(self._watch(exchange, asking)))

        timer = loop.call_later(WATCH_AFTER_SECONDS, watch)
        try:
            return await self._ask(exchange, body)
        except asyncio.CancelledError:
            if exchange.caller_left:
                raise CallerLeft from None
            raise
        finally:
            timer.cancel()
            for task in watching:
                task.cancel()

    @staticmethod
    async def _watch(exchange: Exchange, asking: asyncio.Task[object] | None) -> None:
        await exchange.receive()  # after the body only the disconnection can come
        exchange.caller_left = True
        if asking is not None:
            asking.cancel()

    async def _ask(self, exchange: Exchange, body: bytes) -> list[Prediction]:
        """Ask one lane. When no whole answer comes back, ask another lane once.

        A second call is safe: a prediction changes nothing, and no caller got a part of an answer.
        """
        deadline = asyncio.get_running_loop().time() + self._settings.deadline_seconds
        lane = await self._lanes.choose(exchange.model)
        try:
            return await self._ask_lane(exchange, lane, body, deadline)
        except NoResponse:
            other = await self._lanes.choose(exchange.model, avoid=lane)
            return await self._ask_lane(exchange, other, body, deadline)

    @staticmethod
    async def _ask_lane(
        exchange: Exchange, lane: Lane, body: bytes, deadline: float
    ) -> list[Prediction]:
        exchange.lane = lane
        rows = lane.reader.read(body)
        exchange.rows = len(rows)
        return list(await lane.coalescer.ask(rows, deadline=deadline))

    async def _send(self, exchange: Exchange, reply: Reply, send: Send) -> None:
        headers = [
            *reply.headers,
            (b"content-length", b"%d" % len(reply.body)),
            (b"x-request-id", exchange.request_id.encode()),
        ]
        if exchange.lane is not None:
            headers += exchange.lane.release_headers
        if self._gateway.is_draining and CLOSE not in headers:
            headers.append(CLOSE)
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    def _account(self, exchange: Exchange, status: int) -> None:
        seconds = time.perf_counter() - exchange.started_at
        # A caller's own word never becomes a label: Prometheus keeps every label for ever.
        is_known = exchange.lane is not None or (
            exchange.has_key and self._lanes.names(exchange.model)
        )
        model = exchange.model if is_known else UNKNOWN
        version = str(exchange.lane.served.version) if exchange.lane else ""
        self._gateway.measures.count(model, version, status, seconds)
        share = self._settings.access_log_share
        if status < 500 and not (share and random.random() < share):
            return
        line = {
            "request_id": exchange.request_id,
            "model": model,
            "version": version,
            "status": status,
            "rows": exchange.rows,
            "ms": round(seconds * 1e3, 2),
        }
        level = logging.WARNING if status >= 500 else logging.INFO
        log.log(level, "%s", to_json(line).decode())
