"""Pushes to a registry that writes each tag once, like ECR.

A front that refuses like ECR stands before a real docker-registry. The images hold one small file.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.images.build import Built, push
from infra.images.programs import ProgramFailed, run, said
from infra.local.processes import free_port
from retrain.contract import digest_of_bytes
from tests.grounds.registry_server import start_open_registry


class WrittenOnce:
    """A front that refuses an existing tag with ECR's words. `forbids` refuses every manifest."""

    def __init__(self, folder: Path) -> None:
        self.forbids = False
        self.refused: list[int] = []
        self._program, url = start_open_registry(folder)
        self._behind = url.removeprefix("http://")
        outer = self

        class Answers(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                outer.answer(self)

            do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = answer  # noqa: N815  # http.server's names

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.prefix = f"127.0.0.1:{self._server.server_address[1]}/ratchet"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._program.stop()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        content = _content(request)
        headers = {
            name: ", ".join(request.headers.get_all(name, []))
            for name in request.headers
            if name.lower() not in ("content-length", "transfer-encoding")
        }
        manifest = re.fullmatch(r"/v2/(.+)/manifests/([^:]+)", request.path)
        if request.command == "PUT" and manifest and self.forbids:
            self._refuse(
                request,
                403,
                "DENIED",
                "User: arn:aws:iam::1:user/u is not authorized to perform: ecr:PutImage",
            )
        elif (
            request.command == "PUT"
            and manifest
            and self._ask("HEAD", request.path, b"", {"Accept": headers["Content-Type"]})[0] == 200
        ):
            repository, tag = manifest.groups()
            there = f"The image tag '{tag}' already exists in the '{repository}' repository"
            there += " and cannot be overwritten because the tag is immutable."
            self._refuse(request, 400, "TAG_INVALID", there)
        else:
            _send(request, *self._ask(request.command, request.path, content, headers))

    def rewrite(self, repository: str, tag: str) -> str:
        """Give a tag's manifest an annotation, its image being the same; return its digest now."""
        path, kind = (
            f"/v2/{repository}/manifests/{tag}",
            "application/vnd.oci.image.manifest.v1+json",
        )
        content = json.dumps(
            json.loads(self._ask("GET", path, b"", {"Accept": kind})[2])
            | {"annotations": {"by": "another"}}
        ).encode()
        assert self._ask("PUT", path, content, {"Content-Type": kind})[0] == 201
        return digest_of_bytes(content)

    def _ask(
        self, method: str, path: str, content: bytes, headers: dict[str, str]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = HTTPConnection(self._behind, timeout=30)
        try:
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _refuse(
        self, request: BaseHTTPRequestHandler, status: int, code: str, message: str
    ) -> None:
        self.refused.append(status)
        content = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        _send(
            request,
            status,
            [("Content-Type", "application/json"), ("Content-Length", str(len(content)))],
            content,
        )


def _content(request: BaseHTTPRequestHandler) -> bytes:
    if request.headers.get("Transfer-Encoding") != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    content = b""
    while length := int(request.rfile.readline(), 16):
        content += request.rfile.read(length)
        request.rfile.readline()
    request.rfile.readline()
    return content


def _send(
    request: BaseHTTPRequestHandler, status: int, headers: list[tuple[str, str]], content: bytes
) -> None:
    request.send_response_only(status)
    for name, value in headers:
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(content)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[WrittenOnce]:
    front = WrittenOnce(tmp_path / "registry")
    yield front
    front.stop()


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of the test's own, so that this machine's are neither seen nor touched."""
    if os.geteuid() != 0 or not shutil.which("buildah"):
        pytest.skip("images are made as root, with buildah: apt-get install buildah")
    (tmp_path / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/images"\n'
        f'runroot = "{tmp_path}/running"\n'
    )
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(tmp_path / "storage.conf"))


def made(tmp_path: Path, content: str) -> Built:
    """An image of one file that says what it is."""
    context = tmp_path / content
    context.mkdir()
    (context / "file").write_text(content)
    (context / "Dockerfile").write_text("FROM scratch\nCOPY file /file\n")
    local = f"localhost/ratchet/{content}:latest"
    run(
        "buildah",
        "bud",
        "--quiet",
        "--layers=false",
        "--timestamp",
        "0",
        "--tag",
        local,
        str(context),
    )
    return Built("tiny", local, 0, 0)


def image_id(image: Built) -> str:
    return said("buildah", "images", "--quiet", "--no-trunc", image.local).removeprefix("sha256:")


def on_this_machine() -> dict[str, list[str]]:
    """Every image of the store, with its names."""
    return {
        image["id"]: image["names"]
        for image in json.loads(said("buildah", "images", "--all", "--json"))
    }


def test_an_image_pushed_twice_has_one_name_by_digest_and_leaves_this_machine_as_it_was(
    registry: WrittenOnce, tmp_path: Path
) -> None:
    image = made(tmp_path, "ours")
    before = on_this_machine()
    first = push(image, registry.prefix)
    assert re.fullmatch(re.escape(registry.prefix) + "/tiny@sha256:[0-9a-f]{64}", first)
    assert registry.refused == []
    assert [push(image, registry.prefix), push(image, registry.prefix)] == [first, first]
    assert registry.refused == [400, 400]
    assert on_this_machine() == before


def test_the_digest_of_an_image_that_is_there_is_the_registrys(
    registry: WrittenOnce, tmp_path: Path
) -> None:
    image = made(tmp_path, "ours")
    usual = push(image, registry.prefix)
    digest = registry.rewrite(
        "ratchet/tiny", image_id(image)[:12]
    )  # as a machine would that compresses otherwise
    assert push(image, registry.prefix) == f"{registry.prefix}/tiny@{digest}" != usual


def test_a_tag_that_names_another_image_is_refused_with_what_to_do(
    registry: WrittenOnce, tmp_path: Path
) -> None:
    ours, other = made(tmp_path, "ours"), made(tmp_path, "other")
    tagged = f"{registry.prefix}/tiny:{image_id(ours)[:12]}"
    run(
        "buildah",
        "push",
        "--quiet",
        "--tls-verify=false",
        "--digestfile",
        str(tmp_path / "digest"),
        other.local,
        f"docker://{tagged}",
    )
    digest, foreign = (tmp_path / "digest").read_text(), image_id(other)
    run("buildah", "rmi", other.local)
    before = on_this_machine()
    said_so = rf"(?s)cannot be overwritten.*{tagged} is another image, {foreign}, "
    said_so += rf"not {image_id(ours)}. If no release names {digest}, delete this tag and push"
    with pytest.raises(ProgramFailed, match=said_so):
        push(ours, registry.prefix)
    assert on_this_machine() == before


@pytest.fixture
def hasty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same buildah, but for two seconds before each of its retries."""
    (tmp_path / "bin").mkdir()
    words = 'command=$1; shift; case $command in push|pull) set -- --retry-delay=1ms "$@";; esac'
    (tmp_path / "bin/buildah").write_text(
        f'#!/bin/sh\n{words}\nexec {shutil.which("buildah")} $command "$@"\n'
    )
    (tmp_path / "bin/buildah").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")


@pytest.mark.usefixtures("hasty")
def test_a_registry_that_is_away_is_an_error_whether_the_image_is_there_or_not(
    registry: WrittenOnce, tmp_path: Path
) -> None:
    image = made(tmp_path, "ours")
    with pytest.raises(ProgramFailed, match=r"(?s)buildah push.*connection refused"):
        push(image, f"127.0.0.1:{free_port()}/ratchet")
    push(image, registry.prefix)
    run(
        "buildah", "tag", image.local, f"{registry.prefix}/tiny:{image_id(image)[:12]}"
    )  # as left by a push that was killed
    registry.stop()
    with pytest.raises(ProgramFailed, match=r"(?s)buildah push.*connection refused"):
        push(image, registry.prefix)


def test_another_refusal_stays_the_error_that_it_is(registry: WrittenOnce, tmp_path: Path) -> None:
    registry.forbids = True
    with pytest.raises(
        ProgramFailed, match=r"(?s)buildah push.*is not authorized to perform: ecr:PutImage"
    ):
        push(made(tmp_path, "ours"), registry.prefix)
    assert 403 in registry.refused
