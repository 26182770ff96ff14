"""Wires the gateway: `uvicorn client_api.app:create_app --factory`, or `python -m client_api`."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.routing import Route

from client_api.auth import Keyring
from client_api.measures import Measures, Queue
from client_api.protocols.instances import RequestReader
from client_api.protocols.openapi import ABOUT, describe
from client_api.routes.docs import docs_routes
from client_api.routes.gateway import Gateway
from client_api.routes.operation import not_an_operation, operation_routes
from client_api.routes.predict import Predict
from client_api.servers.lanes import Lanes
from client_api.servers.upstream import Upstream
from client_api.settings import Settings, read_settings
from retrain import __version__
from serving.contract import Served

TITLE = "Ratchet predictions"
API_VERSION = "1"
PREDICT_PATH = "/v1/models/{model}:predict"
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the gateway. Without `settings` they are read from the environment."""
    _set_up_logging()
    gateway = _gateway(settings or read_settings())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        following = asyncio.get_running_loop().create_task(gateway.lanes.follow())
        gc.collect()
        gc.freeze()  # these objects live to the end: the garbage collector may skip them
        with _draining_on_sigterm(gateway):
            yield
        following.cancel()
        await gateway.lanes.close()

    app = FastAPI(
        title=TITLE,
        version=API_VERSION,
        description=ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    predict = Route(PREDICT_PATH, Predict(gateway), methods=["POST"], include_in_schema=False)
    app.router.routes.insert(0, predict)
    app.include_router(operation_routes(gateway))
    app.include_router(docs_routes())
    app.state.gateway = gateway
    # FastAPI documents this assignment as the way to replace the description
    app.openapi = _description(app, gateway)  # type: ignore[method-assign]

    @app.exception_handler(HTTPException)
    async def answer_as_problem(request: Request, error: HTTPException) -> Response:
        return await not_an_operation(request, error.status_code, dict(error.headers or {}))

    return app


def _set_up_logging() -> None:
    """Log lines to stderr, unless logging is set up already; no access log of uvicorn's.

    uvicorn's line for each request costs 10 % of a request. `access_log_share` replaces it.
    """
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False


def _gateway(settings: Settings) -> Gateway:
    tls = ssl.create_default_context()

    def connect(url: str) -> Upstream:
        return Upstream(url, tls=tls, token=settings.serving_token)

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

    measures = Measures(queues, version=__version__, revision=settings.revision)
    lanes = Lanes(
        settings,
        connect=connect,
        reader_of=lambda served: _reader(served, settings),
        on_block=measures.block,
    )
    keyring = Keyring(key.get_secret_value() for key in settings.keys)
    return Gateway(settings, keyring, lanes, measures)


def _reader(served: Served, settings: Settings) -> RequestReader:
    return RequestReader(
        served.model,
        served.io,
        max_rows=min(settings.max_request_rows, served.max_rows),
        title=served.title,
        example=served.example,
    )


def _description(app: FastAPI, gateway: Gateway) -> Callable[[], dict[str, Any]]:
    """Return a function that returns the OpenAPI description.

    The description is made again when a lane's release changes. During a rollout it describes
    the newest release.
    """
    made: dict[tuple[tuple[str, int], ...], dict[str, Any]] = {}

    def description() -> dict[str, Any]:
        by_version = sorted(gateway.lanes, key=lambda lane: lane.served.version)
        newest = {lane.served.model: lane.served for lane in by_version}
        releases = tuple(sorted((model, served.version) for model, served in newest.items()))
        if releases not in made:
            made.clear()
            general = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            readers = {model: _reader(served, gateway.settings) for model, served in newest.items()}
            made[releases] = describe(readers, general)
        return made[releases]

    return description


@contextmanager
def _draining_on_sigterm(gateway: Gateway) -> Iterator[None]:
    """On SIGTERM the gateway stops being ready; uvicorn gets the signal after `drain_seconds`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGTERM)

    def on_signal(number: int, frame: FrameType | None) -> None:
        gateway.is_draining = True
        if callable(before):
            loop.call_soon_threadsafe(
                loop.call_later, gateway.settings.drain_seconds, before, number, frame
            )

    signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is on_signal:
            signal.signal(signal.SIGTERM, before)
