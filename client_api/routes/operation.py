"""What operators ask: health, readiness and measures. Unknown paths and methods end here too."""

from __future__ import annotations

import secrets
from typing import Literal

from fastapi import APIRouter, Request, Response
from typing_extensions import TypedDict

from client_api.admission import request_id
from client_api.problems import problem
from client_api.routes.gateway import Gateway

UNREADY = "No model can be asked, or the gateway is about to stop."


class Health(TypedDict):
    """The answer of a live process."""

    status: Literal["alive"]


class Readiness(TypedDict):
    """Whether requests may be sent here, and for which models."""

    status: Literal["ready", "draining", "no model server is ready"]
    models: list[str]


class Figures(Response):
    """Prometheus' text format."""

    media_type = "text/plain; version=0.0.4"


def operation_routes(gateway: Gateway) -> APIRouter:
    """Return the routes for probes and for Prometheus."""
    router = APIRouter(tags=["operation"])

    @router.get("/healthz", summary="Is the process alive?")
    async def healthz() -> Health:
        return {"status": "alive"}

    unready = {"description": UNREADY, "model": Readiness}

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
    """Answer an unknown path (404) or method (405) with a problem."""
    offered = request.headers.get("x-request-id")
    number = request_id(offered.encode("latin-1") if offered else None, fresh=secrets.token_hex(8))
    path = f"{request.method} {request.url.path[:200]}"
    detail = f"{path} is none of this gateway's operations: /docs lists them"
    body = problem(status, "no such operation", detail, request_id=number)
    return Response(
        body, status, {**(headers or {}), "x-request-id": number}, "application/problem+json"
    )
