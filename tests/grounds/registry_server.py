"""Image registries for tests.

There are a real docker-registry (open or with a login), a token server, ECR's rules in front of a
real registry, and a transport with faults.
"""

from __future__ import annotations

import base64
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from infra.local.processes import Program, free_port
from infra.local.registry import start_registry

USER, PASSWORD = "promote", "a-password-of-the-test"
BCRYPT = "$2b$04$4/hGic8ljcbqZyKTfFiCGeWt/Hyt4y4pVUmcRLLYSepUYQDePyWEe"
SERVICE, ISSUER = "registry of the test", "token server of the test"


class EcrFront(httpx2.BaseTransport):
    """Answers like ECR's distribution API.

    moto knows logins, repositories and mutability. A real registry keeps the bytes. ECR's uploads
    (aws/containers-roadmap#2831) differ: a chunk is answered 201, and the range of an upload stays
    at the end of its first chunk. A mount starts a plain upload, and nobody can ask how far an
    upload is. No manifest is put twice, by tag or by digest. (AWS documents this for tags only.)
    """

    def __init__(self, url: str, ecr: Any) -> None:
        self._url, self._ecr, self._inner = httpx2.URL(url), ecr, httpx2.HTTPTransport()
        self._ranges: dict[str, str] = {}

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        expected = [
            self._ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        ]
        if request.headers.get("authorization", "").removeprefix("Basic ") not in expected:
            return httpx2.Response(
                401,
                headers={"WWW-Authenticate": 'Basic realm="ECR",service="ecr.amazonaws.com"'},
                request=request,
            )
        path = request.url.path.removeprefix("/v2/")
        if not path:
            return httpx2.Response(200, request=request)
        name = path.partition("/blobs/")[0].partition("/manifests/")[0]
        known = {
            one["repositoryName"]: one["imageTagMutability"]
            for one in self._ecr.describe_repositories()["repositories"]
        }
        if name not in known:
            return _refusal(
                request, 404, "NAME_UNKNOWN", f"The repository with name '{name}' does not exist"
            )
        reference = path.rpartition("/manifests/")[2]
        is_put_twice = (
            request.method == "PUT"
            and "/manifests/" in path
            and self._forward(request, "HEAD").status_code == 200
        )
        if is_put_twice and known[name] == "IMMUTABLE":
            return _refusal(
                request,
                400,
                "TAG_INVALID",
                f"The image tag '{reference}' already exists in the '{name}' repository"
                " and cannot be overwritten",
            )
        if request.method == "GET" and "/blobs/uploads/" in path:
            return _refusal(request, 405, "UNSUPPORTED", "The operation is unsupported")
        answer = self._forward(request, request.method)
        if request.method == "PATCH" and answer.status_code == 202:
            upload = request.url.path
            answer.status_code = 201
            answer.headers["range"] = self._ranges.setdefault(upload, answer.headers["range"])
        return answer

    def close(self) -> None:
        self._inner.close()

    def _forward(self, request: httpx2.Request, method: str) -> httpx2.Response:
        query = b"" if b"mount=" in request.url.query else request.url.query
        url = request.url.copy_with(
            scheme=self._url.scheme, host=self._url.host, port=self._url.port, query=query
        )
        body = request.read() if method == request.method else b""
        headers = {
            name: value
            for name, value in request.headers.items()
            if name not in ("authorization", "host", "content-length")
        }
        answer = self._inner.handle_request(
            httpx2.Request(method, url, headers=headers, content=body or None)
        )
        if method != request.method:
            answer.close()
        if "location" in answer.headers:
            answer.headers["location"] = str(
                httpx2.URL(answer.headers["location"]).copy_with(
                    scheme=request.url.scheme, host=request.url.host, port=request.url.port
                )
            )
        return answer


def _refusal(request: httpx2.Request, status: int, code: str, message: str) -> httpx2.Response:
    return httpx2.Response(
        status, json={"errors": [{"code": code, "message": message}]}, request=request
    )


class Breaking(httpx2.BaseTransport):
    """The network, but for what `fault` returns, raises or lets through (None)."""

    def __init__(
        self, fault: Callable[[httpx2.Request, httpx2.BaseTransport], httpx2.Response | None]
    ) -> None:
        self.fault, self._inner = fault, httpx2.HTTPTransport()
        self.requests: list[httpx2.Request] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        return self.fault(request, self._inner) or self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()

    def sent(self, method: str, part: str = "") -> int:
        """How often a method was sent to a path that has `part`."""
        return sum(
            request.method == method and part in str(request.url) for request in self.requests
        )


def let_through(_request: httpx2.Request, _inner: httpx2.BaseTransport) -> None:
    return None


def need_registry() -> None:
    """Skip a test where there is no docker-registry."""
    if shutil.which("docker-registry") is None:
        pytest.skip("pushes go to a real registry: apt-get install docker-registry")


def start_open_registry(folder: Path, *, auth: dict[str, Any] | None = None) -> tuple[Program, str]:
    """A real docker-registry."""
    need_registry()
    return start_registry(folder, free_port(), auth=auth)


@contextmanager
def registry_with_password(folder: Path) -> Iterator[str]:
    """A docker-registry that asks for Basic."""
    (folder / "htpasswd").write_text(f"{USER}:{BCRYPT}\n")
    program, url = start_open_registry(
        folder, auth={"htpasswd": {"realm": "the test", "path": str(folder / "htpasswd")}}
    )
    try:
        yield url
    finally:
        program.stop()


@contextmanager
def registry_with_tokens(folder: Path) -> Iterator[tuple[str, TokenServer]]:
    """A docker-registry that sends callers to a token server."""
    need_registry()
    with ExitStack() as stack:
        server = TokenServer(folder / "root.pem")
        stack.callback(server.stop)
        auth = {
            "realm": f"http://127.0.0.1:{server.port}/token",
            "service": SERVICE,
            "issuer": ISSUER,
            "rootcertbundle": str(folder / "root.pem"),
        }
        program, url = start_open_registry(folder, auth={"token": auth})
        stack.callback(program.stop)
        yield url, server


class TokenServer:
    """Docker's token protocol: Basic in, a signed JWT out that grants what was asked for."""

    def __init__(self, certificate: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name, now = (
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tokens")]),
            datetime.now(UTC),
        )
        unsigned = x509.CertificateBuilder(
            name, name, self._key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1)
        )
        self._certificate = unsigned.add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        ).sign(self._key, hashes.SHA256())
        certificate.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        self.scopes: list[list[str]] = []
        outer = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # http.server's name
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        known = (
            request.headers.get("Authorization")
            == "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        )
        scopes = parse_qs(urlsplit(request.path).query).get("scope", [])
        self.scopes.append(scopes)
        content = json.dumps(
            {"token": self.token(scopes)}
            if known
            else {"errors": [{"code": "UNAUTHORIZED", "message": "who are you?"}]}
        ).encode()
        request.send_response(200 if known else 401)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def token(self, scopes: list[str], *, seconds: int = 300) -> str:
        access = [
            {
                "type": "repository",
                "name": scope.split(":")[1],
                "actions": scope.split(":")[2].split(","),
            }
            for scope in scopes
        ]
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": USER,
            "aud": SERVICE,
            "exp": now + seconds,
            "nbf": now - 5,
            "iat": now,
            "jti": str(now),
            "access": access,
        }
        chain = [
            base64.b64encode(self._certificate.public_bytes(serialization.Encoding.DER)).decode()
        ]
        header = {"typ": "JWT", "alg": "ES256", "x5c": chain}
        signed = ".".join(_url64(json.dumps(part).encode()) for part in (header, claims))
        r, s = utils.decode_dss_signature(
            self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        )
        return f"{signed}.{_url64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _url64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
