"""Answers 401 to who does not carry the token that gateway and servers share. Probes need none: they tell nothing of the model."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

PROBES = frozenset({"/livez", "/readyz"})


class TokenRequired:
    """ASGI middleware before every route; lets all pass when no token is set."""

    def __init__(self, app: ASGIApp, *, token: Callable[[], SecretStr | None]) -> None:
        """Guard an app; `token` is asked at each request, because settings are read after this is built."""
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on what carries the token, and what is no request."""
        token = (
            self._token()
            if scope["type"] in {"http", "websocket"} and scope["path"] not in PROBES
            else None
        )
        if token is None or _carries(Headers(scope=scope), token):
            await self._app(scope, receive, send)
            return
        body = {
            "error": "this server answers its gateway only: the Authorization header carries no token, or another one"
        }
        await JSONResponse(body, status_code=401, headers={"www-authenticate": "Bearer"})(
            scope, receive, send
        )


def _carries(headers: Headers, token: SecretStr) -> bool:
    offered = headers.get("authorization", "")
    return hmac.compare_digest(offered.encode(), f"Bearer {token.get_secret_value()}".encode())
