"""What the gateway answers: predictions as a bare ASGI endpoint (half the cost of a request was routing and wrapping), health and figures as FastAPI routes."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from dataclasses import dataclass, field
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json
from starlette.types import Receive, Scope, Send
from typing_extensions import TypedDict

from client_api.admission import check_bytes, check_declared_bytes, check_media_type, request_id
from client_api.auth import Keyring
from client_api.errors import BodyTooSlow, CallerLeft, GatewayError, NoResponse, ServerFault
from client_api.measures import UNKNOWN, Measures
from client_api.problems import DEFECT, Problem, problem, problem_of
from client_api.servers.lanes import Lane, Lanes
from client_api.servers.upstream import Prediction
from client_api.settings import Settings

log = logging.getLogger("client_api.requests")
JSON = (b"content-type", b"application/json")
CLOSE = (b"connection", b"close")
WATCH_AFTER_SECONDS = 0.05
"""From then on a caller who hangs up is noticed at once; a watch from the start costs a tenth of a request."""


@dataclass
class Gateway:
    """The parts that the routes share."""

    settings: Settings
    keyring: Keyring
    lanes: Lanes
    measures: Measures
    is_draining: bool = False


@dataclass(slots=True)
class Exchange:
    """One request on its way; what is known of it so far goes into the answer's headers, the figures and the log."""

    receive: Receive
    headers: dict[bytes, bytes]
    model: str
    request_id: str
    started: float = field(default_factory=time.perf_counter)
    lane: Lane | None = None
    rows: int = 0
    has_key: bool = False
    body_is_late: bool = False
    caller_left: bool = False


class Predict:
    """`POST /v1/models/{model}:predict`."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._keyring, self._lanes, self._settings = (
            gateway.keyring,
            gateway.lanes,
            gateway.settings,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever goes wrong is told as a problem."""
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
            body = problem(
                *DEFECT,
                "the operator finds the request id in the log",
                request_id=exchange.request_id,
            )
            reply = Problem(DEFECT[0], ((b"content-type", b"application/problem+json"),), body)
        self._account(exchange, reply.status)
        await self._send(exchange, reply, send)

    async def _reply(self, exchange: Exchange) -> Problem:
        self._keyring.check(exchange.headers.get(b"authorization"))
        exchange.has_key = True
        check_media_type(exchange.headers)
        body = await self._body_in_time(exchange)
        predictions = await self._while_there(exchange, body)
        version = exchange.lane.served.version if exchange.lane else 0
        return Problem(
            200, (JSON,), to_json({"predictions": predictions, "model_version": version})
        )

    async def _body_in_time(self, exchange: Exchange) -> bytes:
        """Read the body, for at most `body_seconds`; asyncio.timeout would do the same for three times the cost (4 and 12 µs, uvloop)."""
        reading, seconds = asyncio.current_task(), self._settings.body_seconds
        timer = asyncio.get_running_loop().call_later(seconds, self._give_up, exchange, reading)
        try:
            return await self._body(exchange)
        except asyncio.CancelledError:
            if exchange.body_is_late:
                raise BodyTooSlow(
                    f"the body did not arrive within {seconds:g} s: send it faster, or in smaller requests"
                ) from None
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
        """Ask, and give up when the caller hangs up; answers mostly come before that is worth a task of its own."""
        loop, asking = asyncio.get_running_loop(), asyncio.current_task()
        watching: list[asyncio.Task[None]] = []
        timer = loop.call_later(
            WATCH_AFTER_SECONDS,
            lambda: watching.append(loop.create_task(self._watch(exchange, asking))),
        )
        try:
            return await self._ask(exchange, body)
        except asyncio.CancelledError:
            if exchange.caller_left:
                raise CallerLeft from None
            raise
        finally:
            timer.cancel()
            for watch in watching:
                watch.cancel()

    @staticmethod
    async def _watch(exchange: Exchange, asking: asyncio.Task[object] | None) -> None:
        await exchange.receive()  # after the body there is nothing to come but the disconnection
        exchange.caller_left = True
        if asking is not None:
            asking.cancel()

    async def _ask(self, exchange: Exchange, body: bytes) -> list[Prediction]:
        """Ask one lane, and another one when no whole answer came back: predictions are pure, and nobody has seen half of one."""
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

    async def _send(self, exchange: Exchange, reply: Problem, send: Send) -> None:
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
        seconds = time.perf_counter() - exchange.started
        # A name that a caller made up never becomes a label: each label is kept for ever.
        is_known = exchange.lane is not None or (
            exchange.has_key and self._lanes.names(exchange.model)
        )
        model = exchange.model if is_known else UNKNOWN
        version = str(exchange.lane.served.version) if exchange.lane else ""
        self._gateway.measures.count(model, version, status, seconds)
        share = self._settings.access_log_share
        if status >= 500 or (share and random.random() < share):
            line = {
                "request_id": exchange.request_id,
                "model": model,
                "version": version,
                "status": status,
                "rows": exchange.rows,
                "ms": round(seconds * 1e3, 2),
            }
            log.log(
                logging.WARNING if status >= 500 else logging.INFO, "%s", to_json(line).decode()
            )


class Health(TypedDict):
    """The answer of a process that lives."""

    status: Literal["alive"]


class Readiness(TypedDict):
    """Whether requests may be sent here, and for which models."""

    status: Literal["ready", "draining", "no model server is ready"]
    models: list[str]


class Figures(Response):
    """Prometheus' text format."""

    media_type = "text/plain; version=0.0.4"


def health_routes(gateway: Gateway) -> APIRouter:
    """Return the routes that probes and Prometheus ask."""
    router = APIRouter(tags=["operation"])

    @router.get("/healthz", summary="Is the process alive?")
    async def healthz() -> Health:
        return {"status": "alive"}

    unready = {
        "description": "No model can be asked, or the gateway is about to stop.",
        "model": Readiness,
    }

    @router.get("/readyz", summary="May requests be sent here?", responses={503: unready})
    async def readyz(response: Response) -> Readiness:
        models = sorted({lane.served.model for lane in gateway.lanes})
        if gateway.is_draining or not models:
            response.status_code = 503
        if gateway.is_draining:
            return {"status": "draining", "models": models}
        return {"status": "ready" if models else "no model server is ready", "models": models}

    @router.get("/metrics", summary="Figures for Prometheus", response_class=Figures)
    async def metrics() -> Response:
        return Figures(gateway.measures.to_bytes())

    return router


async def not_an_operation(
    request: Request, status: int, headers: dict[str, str] | None
) -> Response:
    """Answer what no route takes (404, 405) as a problem too."""
    offered = request.headers.get("x-request-id")
    number = request_id(offered.encode("latin-1") if offered else None, fresh=secrets.token_hex(8))
    path = f"{request.method} {request.url.path[:200]}"
    body = problem(
        status,
        "no such operation",
        f"{path} is none of this gateway's operations: /docs lists them",
        request_id=number,
    )
    return Response(
        body, status, {**(headers or {}), "x-request-id": number}, "application/problem+json"
    )
