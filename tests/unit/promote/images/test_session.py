"""What is tried again, how long, where a login goes, and which error an answer becomes.

The registry is a set of functions. There is no network and no sleep.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promote.errors import (
    ImageRegistryBusy,
    ImageRegistryLoginRefused,
    ImageRegistryRefused,
    ImageRegistryUnavailable,
    PromoteError,
)
from promote.images.content import BaseSource
from promote.images.http import HttpRegistry
from promote.images.image import build_image
from promote.images.opening import open_image_registry
from promote.images.session import RegistrySession
from promote.images.uploads import Uploads
from retrain.contract import canonical_json, digest_of_bytes

SECRET = "hunter2"
Answer = Callable[[httpx2.Request], httpx2.Response]


class Talk:
    """A session with a registry that answers by a list, or by a function; waits are kept."""

    def __init__(
        self,
        answers: list[httpx2.Response | Exception] | Answer,
        *,
        url: str = "https://registry.example",
        has_login: bool = True,
    ) -> None:
        self.requests: list[httpx2.Request] = []
        self.waits: list[float] = []
        self._answers = answers
        credentials = (lambda: ("promote", SECRET)) if has_login else None
        self.session = RegistrySession(
            url,
            credentials=credentials,
            transport=httpx2.MockTransport(self._answer),
            sleep=self.waits.append,
        )

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        self.requests.append(request)
        if callable(self._answers):
            return self._answers(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def get(self, path: str = "/v2/a/manifests/v1") -> httpx2.Response:
        return self.session.send("GET", path, answers={200})


def too_many(after: str) -> httpx2.Response:
    return httpx2.Response(429, headers={"Retry-After": after})


def challenge(kind: str) -> httpx2.Response:
    return httpx2.Response(401, headers={"WWW-Authenticate": kind})


@pytest.mark.parametrize(
    "fault",
    [
        httpx2.Response(500),
        httpx2.Response(503),
        too_many("0"),
        httpx2.ReadError("cut"),
        httpx2.ConnectTimeout("slow"),
    ],
)
def test_a_fault_that_passes_is_waited_out(fault: httpx2.Response | Exception) -> None:
    talk = Talk([fault, fault, httpx2.Response(200, content=b"well")])
    assert talk.get().content == b"well"
    assert talk.waits == [0.2, 0.4]


@pytest.mark.parametrize(
    ("answer", "error"),
    [(500, ImageRegistryUnavailable), (504, ImageRegistryUnavailable), (429, ImageRegistryBusy)],
)
def test_a_fault_that_stays_is_an_outage_after_five_tries(
    answer: int, error: type[PromoteError]
) -> None:
    talk = Talk(
        lambda _: httpx2.Response(
            answer, json={"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}
        )
    )
    with pytest.raises(
        error, match=r"registry\.example.*GET /v2/a/manifests/v1 with .*TOOMANYREQUESTS slow down"
    ):
        talk.get()
    assert (len(talk.requests), len(talk.waits)) == (5, 4)


def test_the_registry_says_how_long_to_wait() -> None:
    talk = Talk(
        [too_many("7"), httpx2.Response(503, headers={"Retry-After": "3"}), httpx2.Response(200)]
    )
    talk.get()
    assert talk.waits == [7, 3]


def test_nobody_waits_for_minutes() -> None:
    talk = Talk([too_many("600")])
    with pytest.raises(ImageRegistryBusy, match="a wait of 600 s"):
        talk.get()
    assert talk.waits == []


@pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 413, 301])
def test_a_refusal_is_not_asked_twice_and_carries_the_registrys_words(status: int) -> None:
    talk = Talk(
        [httpx2.Response(status, json={"errors": [{"code": "DENIED", "message": "not yours"}]})]
    )
    with pytest.raises(ImageRegistryRefused, match="DENIED not yours"):
        talk.get()


@pytest.mark.parametrize(
    "content", [b"", b"<html>proxy", b"[]", b'{"errors": {}}', b"\xff\xfe", b'{"errors":[1]}']
)
def test_an_error_page_that_is_no_registrys_is_told_short(content: bytes) -> None:
    with pytest.raises(ImageRegistryRefused, match="with 403"):
        Talk([httpx2.Response(403, content=content * 1000)]).get()


@pytest.mark.parametrize("kind", ["", "Negotiate", 'Basic realm="x"'])
def test_a_login_that_is_refused_says_what_to_set_and_not_what_is_set(kind: str) -> None:
    talk = Talk(lambda _: challenge(kind))
    with pytest.raises(ImageRegistryLoginRefused, match="PROMOTE_IMAGES_USER") as caught:
        talk.get()
    assert SECRET not in str(caught.value)
    assert len(talk.requests) <= 2


def test_a_login_is_shown_when_asked_for_and_then_every_time() -> None:
    talk = Talk([challenge('Basic realm="x"'), httpx2.Response(200), httpx2.Response(200)])
    talk.get()
    talk.get()
    assert [("authorization" in request.headers) for request in talk.requests] == [
        False,
        True,
        True,
    ]


def test_a_token_is_asked_of_the_server_that_the_registry_names_with_its_scopes() -> None:
    kind = 'Bearer realm="https://tokens.example/token?x=1",service="the registry",'
    kind += 'scope="repository:a:pull,push repository:b:pull"'
    talk = Talk(
        [challenge(kind), httpx2.Response(200, json={"access_token": "abc"}), httpx2.Response(200)]
    )
    talk.get()
    asked = talk.requests[1]
    assert (asked.url.host, asked.url.path, asked.url.params.get_list("scope")) == (
        "tokens.example",
        "/token",
        ["repository:a:pull,push", "repository:b:pull"],
    )
    assert (asked.url.params["x"], asked.url.params["service"]) == ("1", "the registry")
    assert talk.requests[2].headers["authorization"] == "Bearer abc"


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(401),
        httpx2.Response(200, json={}),
        httpx2.Response(200, content=b"hm"),
        httpx2.Response(200, json={"token": 1}),
    ],
)
def test_a_token_server_that_gives_none_is_a_refused_login(answer: httpx2.Response) -> None:
    with pytest.raises(ImageRegistryLoginRefused, match=r"tokens\.example"):
        Talk([challenge('Bearer realm="https://tokens.example/t"'), answer]).get()


def test_a_token_server_that_is_down_is_an_outage() -> None:
    talk = Talk(
        lambda request: (
            httpx2.Response(503)
            if request.url.host == "tokens.example"
            else challenge('Bearer realm="https://tokens.example/t"')
        )
    )
    with pytest.raises(ImageRegistryUnavailable, match=r"tokens\.example answered 503"):
        talk.get()


@pytest.mark.parametrize("realm", ["http://tokens.example/t", "", "ftp://x/", "tokens"])
def test_a_login_does_not_go_over_plain_http_when_the_registry_does_not(realm: str) -> None:
    talk = Talk([challenge(f'Bearer realm="{realm}"')])
    with pytest.raises(ImageRegistryLoginRefused, match="https only"):
        talk.get()
    assert len(talk.requests) == 1


def test_a_login_follows_no_redirect_and_no_upload_address_to_another_host() -> None:
    elsewhere = httpx2.Response(307, headers={"Location": "https://storage.example/blob"})
    talk = Talk(
        [
            challenge("Basic"),
            httpx2.Response(200),
            elsewhere,
            httpx2.Response(200, content=b"blob"),
            httpx2.Response(202),
        ]
    )
    talk.get()
    assert talk.get("/v2/a/blobs/x").content == b"blob"
    talk.session.send("PATCH", "https://storage.example/upload", answers={202}, content=b"x")
    assert [request.headers.get("authorization", "")[:5] for request in talk.requests] == [
        "",
        "Basic",
        "Basic",
        "",
        "",
    ]


def test_a_download_that_was_cut_begins_anew() -> None:
    class Cut(httpx2.SyncByteStream):
        def __iter__(self):  # type: ignore[no-untyped-def]  # a generator of bytes
            yield b"half of it and more than the whole"
            raise httpx2.ReadError("cut")

    file = io.BytesIO()
    Talk([httpx2.Response(200, stream=Cut()), httpx2.Response(200, content=b"whole")]).session.send(
        "GET", "/v2/a/blobs/x", answers={200}, into=file
    )
    assert file.getvalue() == b"whole"


class Resuming:
    """A registry that keeps a part of a broken chunk and reports it. It has one upload."""

    def __init__(self, cuts: list[int], *, forgets: bool = False) -> None:
        self.received, self.begun, self.blobs, self._cuts, self._forgets = b"", 0, {}, cuts, forgets

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        at = {"Location": "/v2/a/blobs/uploads/1?state=x"}
        if request.method == "HEAD":
            return httpx2.Response(
                200 if request.url.path.rpartition("/")[2] in self.blobs else 404
            )
        if request.method == "POST":
            self.begun, self.received = self.begun + 1, b""
            return httpx2.Response(202, headers=at)
        if request.method != "PUT" and request.url.params.get("state") != "x":
            return httpx2.Response(404)
        if request.method == "PUT":
            digest = request.url.params["digest"]
            self.blobs |= (
                {digest: self.received} if digest_of_bytes(self.received) == digest else {}
            )
            assert request.url.params["state"] == "x"
            return httpx2.Response(201 if digest in self.blobs else 400)
        if request.method == "PATCH":
            start = int(re.match(r"\d+", request.headers.get("content-range", "0-"))[0])  # type: ignore[index]  # it always matches
            if start != len(self.received):
                return httpx2.Response(416, headers=at)
            if self._cuts:
                self.received = (
                    b"" if self._forgets else self.received + request.content[: self._cuts.pop(0)]
                )
                raise httpx2.WriteError("cut")
            self.received += request.content
        status = 202 if request.method == "PATCH" else 404 if self._forgets else 204
        return httpx2.Response(
            status, headers={**at, "Range": f"0-{max(len(self.received) - 1, 0)}"}
        )


ONNX = bytes(range(256)) * 40
IMAGE = build_image(
    {
        "model.onnx": ONNX,
        "model.json": canonical_json(
            {"files": {"model.onnx": digest_of_bytes(ONNX)}, "snapshot_id": digest_of_bytes(b"")}
        ),
    }
)


@pytest.mark.parametrize("cuts", [[], [0], [1], [2], [500], [999, 1], [1000, 0, 500], [3, 3, 3, 3]])
def test_an_upload_goes_on_at_the_byte_that_the_registry_names(cuts: list[int]) -> None:
    server = Resuming(list(cuts))
    registry = HttpRegistry(Talk(server).session, chunk_bytes=1000)
    layer = IMAGE.model_layer
    registry._uploads.put_blob("a", layer.digest, io.BytesIO(layer.content))
    assert server.blobs[layer.digest] == layer.content
    assert server.begun == 1 + (cuts[:1] in ([0], [1]))  # the header `0-0` says nothing


@pytest.mark.parametrize("chunk_bytes", [1000, None], ids=["chunks", "at once"])
@pytest.mark.parametrize("address", ["/v2/a/blobs/uploads/1?state=x", "/v2/a/lie", ""])
def test_after_a_refused_mount_the_upload_continues_at_its_address_or_begins(
    address: str, chunk_bytes: int | None
) -> None:
    server, layer = Resuming([]), IMAGE.model_layer
    uploads = Uploads(Talk(server).session, chunk_bytes=chunk_bytes)
    uploads.put_blob("a", layer.digest, io.BytesIO(layer.content), address=address)
    assert server.blobs[layer.digest] == layer.content
    assert server.begun == (0 if "state=x" in address else 1)


@pytest.mark.parametrize(
    ("answer", "address"),
    [
        (httpx2.Response(201), None),
        (
            httpx2.Response(202, headers={"Location": "/v2/a/blobs/uploads/1"}),
            "/v2/a/blobs/uploads/1",
        ),
        (httpx2.Response(202), ""),
    ],
)
def test_a_mount_is_done_or_an_upload(answer: httpx2.Response, address: str | None) -> None:
    uploads = Uploads(Talk([answer]).session, chunk_bytes=None)
    assert uploads.mount("a", IMAGE.config.digest, "base") == address


def test_an_upload_that_is_lost_five_times_is_an_outage() -> None:
    registry = HttpRegistry(Talk(Resuming([0] * 5, forgets=True)).session, chunk_bytes=1000)
    with pytest.raises(ImageRegistryUnavailable):
        registry._uploads.put_blob(
            "a", IMAGE.model_layer.digest, io.BytesIO(IMAGE.model_layer.content)
        )


def test_a_registry_that_takes_bytes_and_has_them_not_is_an_outage() -> None:
    server = Resuming([])
    registry = HttpRegistry(Talk(server).session)
    with pytest.raises(ImageRegistryUnavailable, match="3 times and does not have it"):
        registry._uploads.put_blob("a", digest_of_bytes(b"something else"), io.BytesIO(b"bytes"))


def test_a_registry_without_the_digest_header_is_believed_by_the_manifests_bytes() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=IMAGE.manifest.content)

    assert HttpRegistry(Talk(answer).session).find("a", "v1") == IMAGE.digest


def test_a_registry_that_names_a_digest_and_gives_other_bytes_is_not_believed() -> None:
    headers = {"Docker-Content-Digest": digest_of_bytes(b"other")}
    registry = HttpRegistry(
        Talk(
            lambda _: httpx2.Response(200, content=IMAGE.manifest.content, headers=headers)
        ).session
    )
    with pytest.raises(PromoteError, match=r"should be .* and is"):
        registry.find("a", "v1")


def test_a_website_that_has_nothing_is_not_a_registry_that_lacks_an_image() -> None:
    talk = Talk(lambda _: httpx2.Response(404, content=b"<html>no such page"))
    with pytest.raises(ImageRegistryRefused, match="PROMOTE_IMAGES names a registry"):
        HttpRegistry(talk.session).find("a", "v1")


@pytest.mark.parametrize("location", ["", "http://[", "ftp://x/y", "http://x:y/"])
def test_an_upload_address_that_is_none_is_an_error_of_ours(location: str) -> None:
    headers = {"Location": location} if location else {}
    talk = Talk(
        lambda request: (
            httpx2.Response(404)
            if request.method == "HEAD"
            else httpx2.Response(202, headers=headers)
        )
    )
    with pytest.raises(PromoteError):
        HttpRegistry(talk.session)._uploads.put_blob(
            "a", IMAGE.model_layer.digest, io.BytesIO(IMAGE.model_layer.content)
        )


def test_a_fixed_tag_of_another_image_that_is_not_whole_is_refused_all_the_same() -> None:
    """As ECR answers: the tag stays whatever we do."""
    other = build_image(
        {
            "model.onnx": b"",
            "model.json": canonical_json(
                {"files": {"model.onnx": digest_of_bytes(b"")}, "snapshot_id": digest_of_bytes(b"")}
            ),
        }
    )

    def answer(request: httpx2.Request) -> httpx2.Response:
        by_tag, by_digest = (
            request.url.path.endswith("/manifests/v1"),
            request.url.path.endswith(IMAGE.digest),
        )
        if request.method == "PUT":
            return httpx2.Response(
                400 if by_tag else 201,
                json={"errors": [{"code": "TAG_INVALID", "message": "cannot be overwritten"}]},
            )
        if "/manifests/" in request.url.path:
            shown = IMAGE if by_digest else other
            return httpx2.Response(
                200, content=shown.manifest.content, headers={"Docker-Content-Digest": shown.digest}
            )
        return httpx2.Response(
            200
            if request.url.path.rpartition("/")[2]
            in (IMAGE.config.digest, IMAGE.model_layer.digest)
            else 404
        )

    with pytest.raises(ImageRegistryRefused, match="TAG_INVALID cannot be overwritten"):
        HttpRegistry(Talk(answer).session).push("a", IMAGE, tag="v1")


json_values = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.just(digest_of_bytes(b"x")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["manifests", "layers", "config", "digest", "platform", "os"]),
            inner,
            max_size=4,
        )
    ),
)


@settings(deadline=None)  # a busy machine
@given(json_values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20))
def test_whatever_a_registry_holds_is_an_image_or_an_error_of_ours(content: bytes) -> None:
    talk = Talk(lambda _: httpx2.Response(200, content=content), has_login=False)
    digest = digest_of_bytes(content)
    registry = HttpRegistry(talk.session, base=BaseSource(talk.session, "base", digest))
    for act in (
        registry.base_image,
        lambda: registry.model_folder("a", digest),
        lambda: registry.find("a", "v1"),
    ):
        with pytest.raises(PromoteError):
            act()


def test_opening_a_registry_asks_it_nothing() -> None:
    def fail(request: httpx2.Request) -> httpx2.Response:
        raise AssertionError(request)

    open_image_registry("https://registry.example", transport=httpx2.MockTransport(fail))
