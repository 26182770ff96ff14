"""The service over a world of fakes: nudges, promotions, health, and one model's defect."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from promote.errors import ForgeUnavailable, PromoteServiceUnavailable, UnknownModel
from promote.forge.status_memory import StatusMemory
from promote.loop.reconciler import Reconciler
from promote.web.app import MOST_WEBHOOK_BYTES, Loop, create_app
from promote.web.client import ask_promotions
from tests.fakes.promotion_world import MODEL, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def loop(world: World) -> Loop:
    return Loop(
        world.reconciler(),
        lambda _: [MODEL],
        is_model=lambda name: name == "another-model",
        environment="production",
        interval_seconds=3600,
    )


@pytest.fixture
def client(loop: Loop) -> Iterator[TestClient]:
    with TestClient(create_app(loop)) as client:
        yield client


def until(look: Callable[[], Any]) -> Any:
    for _ in range(1000):
        if found := look():
            return found
        time.sleep(0.005)  # the loop is a thread of its own
    raise AssertionError("not within 5 s")


def state_of(client: TestClient) -> str:
    return str(client.get(f"/promotions/{MODEL}").json().get("state"))


def test_the_first_pass_sees_every_model_of_main(client: TestClient) -> None:
    until(lambda: state_of(client) == "no challenger")
    (promotion,) = client.get("/promotions").json()
    assert (promotion["model"], promotion["waits_for"], promotion["environment"]) == (
        MODEL,
        None,
        "production",
    )


def test_a_nudge_starts_a_pass_that_nobody_waited_an_hour_for(
    client: TestClient, world: World
) -> None:
    until(lambda: state_of(client) == "no challenger")
    world.register()

    answer = client.post(f"/nudge/{MODEL}")

    assert answer.status_code == 202
    until(lambda: state_of(client) == "proposed")
    promotion = client.get(f"/promotions/{MODEL}").json()
    assert (promotion["version"], promotion["verdict"], promotion["pull_request"]) == (
        1,
        "promote",
        1,
    )


def test_a_nudged_model_can_be_asked_about_at_once(client: TestClient) -> None:
    client.post("/nudge/another-model")
    assert client.get("/promotions/another-model").status_code == 200
    assert [
        one["model"] for one in client.get("/promotions", params={"model": "another-model"}).json()
    ] == ["another-model"]


@pytest.mark.parametrize("name", ["UPPER", "a..b", "a%20b"])
def test_a_name_that_is_none_is_a_problem(client: TestClient, name: str) -> None:
    answer = client.post(f"/nudge/{name}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert "is no model's name" in answer.json()["detail"]


def test_an_unknown_model_says_which_are_known(client: TestClient) -> None:
    until(lambda: state_of(client) == "no challenger")
    answer = client.get("/promotions/unknown")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert MODEL in answer.json()["detail"]


def test_an_outage_is_told_and_the_service_stays_healthy(world: World) -> None:
    def down(_: object) -> list[str]:
        raise ForgeUnavailable("the forge does not answer")

    loop = Loop(
        world.reconciler(),
        down,
        is_model=lambda _: False,
        environment="production",
        interval_seconds=3600,
    )
    with TestClient(create_app(loop)) as client:
        until(lambda: loop.problem == "the forge does not answer")
        assert client.get("/health").json() == {
            "status": "ok",
            "problem": "the forge does not answer",
        }


def test_one_models_defect_does_not_stop_the_others(world: World) -> None:
    reconciler = world.reconciler()
    real = reconciler.reconcile

    def broken(model: str, tell: Any) -> Any:
        if model == "a-broken-model":
            raise ZeroDivisionError("a defect")
        return real(model, tell)

    reconciler.reconcile = broken  # type: ignore[method-assign]  # a defect, as no fake part can make one
    loop = Loop(
        reconciler,
        lambda _: ["a-broken-model", MODEL],
        is_model=lambda _: False,
        environment="production",
        interval_seconds=3600,
    )
    with TestClient(create_app(loop)) as client:
        until(lambda: state_of(client) == "no challenger")
        assert "ZeroDivisionError" in client.get("/health").json()["problem"]


def test_health_says_when_the_loop_has_ended(client: TestClient, loop: Loop) -> None:
    loop.stop()
    assert client.get("/health").status_code == 503


@pytest.mark.parametrize("name", ["flight-dealy", "another-modle"])
def test_a_nudge_of_a_model_that_nobody_knows_is_a_404_and_keeps_nothing(
    client: TestClient, loop: Loop, name: str
) -> None:
    answer = client.post(f"/nudge/{name}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert "Merge the model file, or correct the name" in answer.json()["detail"]
    assert name not in loop.promotions
    assert client.get(f"/promotions/{name}").status_code == 404


def test_a_nudge_that_cannot_be_checked_is_a_503(world: World) -> None:
    def away(_: str) -> bool:
        raise ForgeUnavailable("The forge does not answer.")

    loop = Loop(
        world.reconciler(),
        lambda _: [MODEL],
        is_model=away,
        environment="production",
        interval_seconds=3600,
    )
    with TestClient(create_app(loop)) as client:
        assert client.post("/nudge/new-model").status_code == 503
        until(lambda: state_of(client) == "no challenger")
        assert client.post(f"/nudge/{MODEL}").status_code == 202


def test_a_foreign_error_while_models_are_listed_does_not_end_the_loop(world: World) -> None:
    calls: list[int] = []

    def models(_: object) -> list[str]:
        calls.append(1)
        if len(calls) == 1:
            raise AssertionError("unsupported encoding: none")
        return [MODEL]

    loop = Loop(
        world.reconciler(),
        models,
        is_model=lambda _: True,
        environment="production",
        interval_seconds=0.01,
    )
    with TestClient(create_app(loop)) as client:
        until(lambda: state_of(client) == "no challenger")
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_no_page_loads_scripts_from_another_host(client: TestClient, page: str) -> None:
    assert client.get(page).status_code == 404
    assert client.get("/openapi.json").status_code == 200


def signature(body: bytes, secret: str) -> dict[str, str]:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={digest}"}


PUSH = json.dumps(
    {
        "ref": "refs/heads/main",
        "commits": [{"modified": [f"gitops/models/{MODEL}/production/release.yaml"]}],
    }
).encode()
PULL = json.dumps(
    {"pull_request": {"head": {"ref": f"ratchet/{MODEL}/production/v1-first"}}}
).encode()


@pytest.mark.parametrize("body", [PUSH, PULL])
def test_a_signed_webhook_nudges_the_models_that_it_names(
    loop: Loop, world: World, body: bytes
) -> None:
    with TestClient(create_app(loop, webhook_secret="s3cret")) as client:
        until(lambda: state_of(client) == "no challenger")
        world.register()
        answer = client.post("/webhooks/github", content=body, headers=signature(body, "s3cret"))
        assert (answer.status_code, answer.json()) == (202, {"nudged": [MODEL]})
        until(lambda: state_of(client) == "proposed")


@pytest.mark.parametrize("headers", [{}, signature(PUSH, "other"), signature(PULL, "s3cret")])
def test_a_webhook_with_another_signature_is_refused(loop: Loop, headers: dict[str, str]) -> None:
    with TestClient(create_app(loop, webhook_secret="s3cret")) as client:
        answer = client.post("/webhooks/github", content=PUSH, headers=headers)
        assert answer.status_code == 401


@pytest.mark.parametrize("extra", [0, 1])
def test_a_webhook_of_more_than_a_mebibyte_is_a_413(loop: Loop, extra: int) -> None:
    body = b" " * (MOST_WEBHOOK_BYTES + extra)
    with TestClient(create_app(loop, webhook_secret="s3cret")) as client:
        answer = client.post("/webhooks/github", content=body, headers=signature(body, "s3cret"))
    assert answer.status_code == (413 if extra else 202)
    assert not extra or "more than 1048576 bytes" in answer.json()["detail"]


def test_final_statuses_are_saved_when_a_pass_ends(tmp_path: Path) -> None:
    world = World()
    world.ship()
    memory = StatusMemory(tmp_path / "statuses.json")
    loop = Loop(
        Reconciler(replace(world.parts(), memory=memory), world.judge),
        lambda _: [MODEL],
        is_model=lambda _: False,
        environment="production",
        interval_seconds=3600,
    )
    with TestClient(create_app(loop)):
        until(lambda: StatusMemory(tmp_path / "statuses.json"))


def test_without_a_secret_there_are_no_webhooks(client: TestClient) -> None:
    answer = client.post("/webhooks/github", content=PUSH, headers=signature(PUSH, ""))
    assert answer.status_code == 404


@pytest.mark.parametrize("body", [b"", b"[]", b"no json", b'{"commits": [1, {"added": null}]}'])
def test_a_signed_webhook_of_another_shape_nudges_nobody(loop: Loop, body: bytes) -> None:
    with TestClient(create_app(loop, webhook_secret="s3cret")) as client:
        answer = client.post("/webhooks/github", content=body, headers=signature(body, "s3cret"))
        assert answer.json() == {"nudged": []}


def test_a_nudge_looks_at_the_nudged_model_only(world: World) -> None:
    names: list[str] = []
    reconciler = world.reconciler()
    real = reconciler.reconcile
    reconciler.reconcile = lambda model, keep: (names.append(model), real(model, keep))[1]  # type: ignore[method-assign,assign,misc]  # notes names
    loop = Loop(
        reconciler,
        lambda _: ["a", MODEL],
        is_model=lambda _: False,
        environment="production",
        interval_seconds=3600,
    )
    with TestClient(create_app(loop)) as client:
        until(lambda: names == ["a", MODEL])
        client.post(f"/nudge/{MODEL}")
        until(lambda: names == ["a", MODEL, MODEL])


def test_status_asks_the_running_service(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    with TestClient(create_app(loop)) as client:
        until(lambda: state_of(client) == "no challenger")
        served = client.get("/promotions").content
    asked: list[str] = []

    def get(url: str, **_: object) -> httpx2.Response:
        asked.append(url)
        return httpx2.Response(200, content=served, request=httpx2.Request("GET", url))

    monkeypatch.setattr(httpx2, "get", get)
    for names in ([], [MODEL]):
        (promotion,) = ask_promotions("http://promote.test", names, timeout_seconds=1)
        assert promotion.model == MODEL
    assert asked == ["http://promote.test/promotions"] * 2
    with pytest.raises(UnknownModel, match="other"):
        ask_promotions("http://promote.test", ["other"], timeout_seconds=1)
    served = b"<html>"
    with pytest.raises(PromoteServiceUnavailable):
        ask_promotions("http://promote.test", [], timeout_seconds=1)
