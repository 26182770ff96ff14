"""Wires the gateway: `uvicorn client_api.app:create_app --factory`, or `python -m client_api`."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.routing import Route

from client_api.auth import Keyring
from client_api.docs import docs_routes
from client_api.measures import Measures, Queue
from client_api.protocols.openapi import ABOUT, describe
from client_api.routes import Gateway, Predict, health_routes, not_an_operation
from client_api.servers.lanes import Lanes
from client_api.servers.upstream import Upstream
from client_api.settings import Settings, read_settings

TITLE = "Ratchet predictions"
API_VERSION = "1"


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the gateway; its settings come from the environment when none are given."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )  # nothing where logging is set up already
    settings = settings or read_settings()
    gateway = _gateway(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        following = asyncio.get_running_loop().create_task(gateway.lanes.follow())
        restore = _drain_on_sigterm(gateway)
        gc.collect()
        gc.freeze()  # what lives from here to the end need not be looked at again
        try:
            yield
        finally:
            restore()
            following.cancel()
            await gateway.lanes.close()

    logging.getLogger(
        "uvicorn.access"
    ).handlers.clear()  # a line a request costs a tenth of it: access_log_share is ours
    logging.getLogger("uvicorn.access").propagate = False
    app = FastAPI(
        title=TITLE,
        version=API_VERSION,
        description=ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.router.routes.insert(
        0,
        Route(
            "/v1/models/{model}:predict",
            Predict(gateway),
            methods=["POST"],
            include_in_schema=False,
        ),
    )
    app.include_router(health_routes(gateway))
    app.include_router(docs_routes())
    app.state.gateway = gateway
    app.openapi = _description(app, gateway.lanes)  # type: ignore[method-assign]  # FastAPI's documented way to replace it

    @app.exception_handler(HTTPException)
    async def told_as_problem(request: Request, error: HTTPException) -> Response:
        return await not_an_operation(request, error.status_code, dict(error.headers or {}))

    return app


def _gateway(settings: Settings) -> Gateway:
    measures: Measures

    def on_block(model: str, rows: int) -> None:
        measures.block(model, rows)

    tls = ssl.create_default_context()
    lanes = Lanes(
        settings,
        connect=lambda url: Upstream(url, tls=tls, token=settings.serving_token),
        on_block=on_block,
    )

    def queues() -> list[Queue]:
        return [
            (
                lane.served.model,
                str(lane.served.version),
                lane.coalescer.waiting_rows,
                lane.coalescer.in_flight_rows,
            )
            for lane in lanes
        ]

    measures = Measures(queues)
    return Gateway(
        settings, Keyring(key.get_secret_value() for key in settings.keys), lanes, measures
    )


def _description(app: FastAPI, lanes: Lanes) -> Callable[[], dict[str, Any]]:
    """Return what makes the OpenAPI description, anew when a lane's release changed; during a rollout the newest one is described."""
    made: dict[tuple[tuple[str, int], ...], dict[str, Any]] = {}

    def description() -> dict[str, Any]:
        newest = {
            lane.served.model: lane for lane in sorted(lanes, key=lambda lane: lane.served.version)
        }
        releases = tuple(sorted((model, lane.served.version) for model, lane in newest.items()))
        if releases not in made:
            made.clear()
            general = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            made[releases] = describe(
                {model: lane.reader for model, lane in newest.items()}, general
            )
        return made[releases]

    return description


def _drain_on_sigterm(gateway: Gateway) -> Callable[[], None]:
    """On SIGTERM be unready at once and hand the signal on (to uvicorn, which ends) after `drain_seconds`; return what undoes this."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGTERM)

    def on_signal(number: int, frame: FrameType | None) -> None:
        gateway.is_draining = True
        if callable(before):
            loop.call_soon_threadsafe(
                loop.call_later, gateway.settings.drain_seconds, before, number, frame
            )

    signal.signal(signal.SIGTERM, on_signal)
    return lambda: None if signal.getsignal(signal.SIGTERM) is not on_signal else _restore(before)


def _restore(before: Any) -> None:
    signal.signal(signal.SIGTERM, before)
