"""Who may ask a server: with a token set, only who carries it; probes always."""

from __future__ import annotations

import pytest
from pydantic import SecretStr, ValidationError
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from retrain.contract import digest_of_bytes
from serving.settings import Settings
from serving.token import TokenRequired

TOKEN = "correct horse battery staple"
PATHS = ["/predict", "/metadata", "/schema", "/docs.json", "/livez", "/readyz"]


def client(token: str | None) -> TestClient:
    async def answer(_: object) -> PlainTextResponse:
        return PlainTextResponse("answered")

    app = Starlette(routes=[Route(path, answer, methods=["GET", "POST"]) for path in PATHS])
    return TestClient(TokenRequired(app, token=lambda: SecretStr(token) if token else None))


def statuses(token: str | None, authorization: str | None) -> dict[str, int]:
    headers = {} if authorization is None else {"authorization": authorization.encode("latin-1")}
    return {path: client(token).post(path, headers=headers).status_code for path in PATHS}


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        TOKEN,
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN} ",
        f"Bearer {TOKEN}x",
        f"Basic {TOKEN}",
        "Bearer \xe9",
    ],
)
def test_without_the_token_only_probes_are_answered(authorization: str | None) -> None:
    assert statuses(TOKEN, authorization) == {
        path: 200 if path in {"/livez", "/readyz"} else 401 for path in PATHS
    }


def test_with_the_token_everything_is_answered() -> None:
    assert set(statuses(TOKEN, f"Bearer {TOKEN}").values()) == {200}


def test_where_no_token_is_set_everybody_is_answered() -> None:
    assert set(statuses(None, None).values()) == {200}


def test_the_refusal_says_nothing_of_the_token() -> None:
    refusal = client(TOKEN).get("/predict")
    assert refusal.headers["www-authenticate"] == "Bearer"
    assert "correct" not in refusal.text


@pytest.mark.parametrize("token", ["", "short"])
def test_a_token_that_protects_nothing_is_refused_at_start(token: str) -> None:
    with pytest.raises(ValidationError, match="token"):
        Settings(model_digest=digest_of_bytes(b""), version=1, image_digest="sha256:0", token=token)
