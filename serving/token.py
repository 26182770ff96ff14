"""Requires the token that the gateway and the servers share. Health probes need no token."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

PROBES = frozenset({"/livez", "/readyz"})
REFUSAL = {
    "error": "this server answers its gateway only: "
    "the Authorization header carries no token, or another one"
}


class TokenRequired:
    """ASGI middleware before every route. Without a token it passes every request on."""

    def __init__(self, app: ASGIApp, *, token: Callable[[], SecretStr | None]) -> None:
        """Guard an app. `token` is called at each request: the settings are read after this."""
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on requests with the token, and what is no request. Answer 401 to the others."""
        token = (
            self._token()
            if scope["type"] in {"http", "websocket"} and scope["path"] not in PROBES
            else None
        )
        if token is None or _carries(Headers(scope=scope), token):
            await self._app(scope, receive, send)
            return
        refusal = JSONResponse(REFUSAL, status_code=401, headers={"www-authenticate": "Bearer"})
        await refusal(scope, receive, send)


def _carries(headers: Headers, token: SecretStr) -> bool:
    offered = headers.get("authorization", "")
    return hmac.compare_digest(offered.encode(), f"Bearer {token.get_secret_value()}".encode())
