"""Registries for tests: a real docker-registry open or with a login, a token server, ECR's rules before a real registry, and a transport that breaks what it is told to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from infra.local.processes import Program, free_port
from infra.local.registry import start_registry

USER, PASSWORD = "promote", "a-password-of-the-test"


class EcrFront(httpx2.BaseTransport):
    """Answers as ECR's distribution API does: moto knows logins, repositories and mutability, a real registry keeps the bytes."""

    def __init__(self, url: str, ecr: Any) -> None:
        self._url, self._ecr, self._inner = httpx2.URL(url), ecr, httpx2.HTTPTransport()
        self.tokens: list[str] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        expected = [self._ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]]
        if request.headers.get("authorization", "").removeprefix("Basic ") not in expected:
            return httpx2.Response(401, headers={"WWW-Authenticate": 'Basic realm="ECR",service="ecr.amazonaws.com"'}, request=request)
        path = request.url.path.removeprefix("/v2/")
        name = path.partition("/blobs/")[0].partition("/manifests/")[0]
        known = {one["repositoryName"]: one["imageTagMutability"] for one in self._ecr.describe_repositories()["repositories"]}
        if name not in known:
            return _refusal(request, 404, "NAME_UNKNOWN", f"The repository with name '{name}' does not exist")
        tag = path.rpartition("/manifests/")[2]
        if (
            request.method == "PUT"
            and "/manifests/" in path
            and ":" not in tag
            and known[name] == "IMMUTABLE"
            and self._forward(request, "HEAD").status_code == 200
        ):
            return _refusal(request, 400, "TAG_INVALID", f"The image tag '{tag}' already exists in the '{name}' repository and cannot be overwritten")
        return self._forward(request, request.method)

    def close(self) -> None:
        self._inner.close()

    def _forward(self, request: httpx2.Request, method: str) -> httpx2.Response:
        url = request.url.copy_with(scheme=self._url.scheme, host=self._url.host, port=self._url.port)
        body = request.read() if method == request.method else b""
        headers = {name: value for name, value in request.headers.items() if name not in ("authorization", "host", "content-length")}
        answer = self._inner.handle_request(httpx2.Request(method, url, headers=headers, content=body or None))
        if method != request.method:
            answer.close()
        if "location" in answer.headers:
            answer.headers["location"] = str(
                httpx2.URL(answer.headers["location"]).copy_with(scheme=request.url.scheme, host=request.url.host, port=request.url.port)
            )
        return answer


def _refusal(request: httpx2.Request, status: int, code: str, message: str) -> httpx2.Response:
    return httpx2.Response(status, json={"errors": [{"code": code, "message": message}]}, request=request)


class Breaking(httpx2.BaseTransport):
    """The network, but for what `fault` returns, raises or lets through (None)."""

    def __init__(self, fault: Callable[[httpx2.Request, httpx2.BaseTransport], httpx2.Response | None]) -> None:
        self._fault, self._inner = fault, httpx2.HTTPTransport()
        self.requests: list[httpx2.Request] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        return self._fault(request, self._inner) or self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()

    def sent(self, method: str, part: str = "") -> int:
        """How often a method was sent to a path that has `part`."""
        return sum(request.method == method and part in str(request.url) for request in self.requests)


def let_through(_request: httpx2.Request, _inner: httpx2.BaseTransport) -> None:
    return None


def start_open_registry(folder: Path) -> tuple[Program, str]:
    return start_registry(folder, free_port())
