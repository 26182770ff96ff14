"""Keys, settings, problems: what stands at the gateway's edge."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from client_api import errors
from client_api.admission import check_media_type
from client_api.auth import Keyring
from client_api.errors import (
    BlockRefused,
    FieldError,
    GatewayError,
    KeyRefused,
    MediaTypeRefused,
    QueueFull,
    RequestInvalid,
    ServerFault,
)
from client_api.problems import STATUSES, problem_of
from client_api.settings import Settings


@pytest.mark.parametrize("header", [b"Bearer first", b"bearer second", b"Bearer  first "])
def test_a_known_key_comes_in(header):
    Keyring(["first", "second"]).check(header)


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"Bearer",
        b"Bearer ",
        b"Basic first",
        b"first",
        b"Bearer firs",
        b"Bearer first,second",
        b"Bearer \xff\xfe",
    ],
)
def test_any_other_authorization_is_refused_without_repeating_it(header):
    with pytest.raises(KeyRefused) as refused:
        Keyring(["first", "second"]).check(header)
    assert "firs" not in str(refused.value)


@pytest.mark.parametrize(
    "declared",
    [b"", b"text/plain", b"application/jsonp", b"application/x-www-form-urlencoded", b"\xff" * 500],
)
def test_a_body_that_is_not_declared_json_is_refused(declared):
    with pytest.raises(MediaTypeRefused) as refused:
        check_media_type({b"content-type": declared})
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("given", "keys"),
    [("a, b,", ["a", "b"]), ('["a", "b,c"]', ["a", "b,c"]), ("s3cret", ["s3cret"])],
)
def test_keys_are_a_json_list_or_separated_by_commas(monkeypatch, tmp_path, given, keys):
    monkeypatch.setenv("CLIENT_API_KEYS", given)
    monkeypatch.setenv("CLIENT_API_ENDPOINTS", str(tmp_path / "endpoints.json"))
    settings = Settings()
    assert [key.get_secret_value() for key in settings.keys] == keys
    assert "s3cret" not in repr(settings)


def test_without_keys_the_gateway_does_not_start_and_all_problems_are_told_at_once(monkeypatch):
    monkeypatch.setenv("CLIENT_API_KEYS", " , ")
    monkeypatch.setenv("CLIENT_API_POLL_SECONDS", "3")
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert {error["loc"][0] for error in refused.value.errors()} == {
        "keys",
        "endpoints",
        "poll_seconds",
    }


def test_every_error_has_a_status():
    def leaves(kind):
        return [leaf for child in kind.__subclasses__() for leaf in leaves(child)] or [kind]

    told = tuple(kind for kind, _, _ in STATUSES)
    assert [
        kind for kind in leaves(GatewayError) if not issubclass(kind, (*told, errors.CallerLeft))
    ] == []


def test_a_problem_carries_pointers_and_the_request_id():
    told = problem_of(
        RequestInvalid(
            "no", [FieldError("/instances/3/distance", "must be at least 0 miles, is -4")]
        ),
        request_id="r",
    )
    assert told.status == 422
    assert (b"content-type", b"application/problem+json") in told.headers
    assert json.loads(told.body) | {"title": ""} == {
        "type": "about:blank",
        "title": "",
        "status": 422,
        "detail": "no",
        "request_id": "r",
        "errors": [
            {"pointer": "/instances/3/distance", "detail": "must be at least 0 miles, is -4"}
        ],
    }


def test_who_is_shed_learns_when_to_come_again_and_who_has_no_key_how_to_show_one():
    assert (b"retry-after", b"3") in problem_of(
        QueueFull("full", retry_after_seconds=3), request_id="r"
    ).headers
    assert any(
        name == b"www-authenticate"
        for name, _ in problem_of(KeyRefused("no"), request_id="r").headers
    )


def test_a_servers_fault_is_not_shown_to_the_caller_but_its_refusal_of_rows_is():
    assert (
        b"secret" not in problem_of(ServerFault("http://10.0.0.3 said secret"), request_id="r").body
    )
    refused = problem_of(BlockRefused(400, "too far"), request_id="r")
    assert refused.status == 422
    assert b"too far" in refused.body
    assert problem_of(BlockRefused(500, "broke"), request_id="r").status == 502
