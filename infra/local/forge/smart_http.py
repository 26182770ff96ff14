"""Git over HTTP through git's own `http-backend`: anybody reads, a token writes."""

from __future__ import annotations

import base64
import binascii
import logging
import os
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from infra.local.forge.repository import Repository

_LOG = logging.getLogger(__name__)


def git_endpoint(repository: Repository, logins: Mapping[str, str]) -> Callable[[Request], Any]:
    """Return the endpoint below `/<owner>/<repo>.git/`. A push needs a token as its password."""

    async def answer(request: Request) -> Response:
        pushes = "git-receive-pack" in f"{request.url.path} {request.url.query}"
        who = logins.get(_password(request))
        if pushes and who is None:
            return Response(
                "A push needs a token as the password.\n",
                401,
                {"WWW-Authenticate": 'Basic realm="forge"'},
            )
        return await run_in_threadpool(_serve, repository, request, await request.body(), who)

    return answer


def _password(request: Request) -> str:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return secret
    try:
        return base64.b64decode(secret).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _serve(repository: Repository, request: Request, body: bytes, who: str | None) -> Response:
    env = {
        "PATH": os.environ["PATH"],
        "GIT_PROJECT_ROOT": str(repository.folder),
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_PROTOCOL": request.headers.get("git-protocol", ""),
        "PATH_INFO": "/" + request.path_params["path"],
        "QUERY_STRING": request.url.query,
        "REQUEST_METHOD": request.method,
        "REMOTE_USER": "forge",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": request.headers.get("content-type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_CONTENT_ENCODING": request.headers.get("content-encoding", ""),
    }
    is_push = request.method == "POST" and request.url.path.endswith("/git-receive-pack")
    before = repository.refs("refs/heads") if is_push else {}
    ended = subprocess.run(
        ["git", "http-backend"], input=body, stdout=subprocess.PIPE, env=env, check=False
    )
    after = repository.refs("refs/heads") if is_push else {}
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            _LOG.info(
                "%s pushed %s: %s to %s",
                who,
                name,
                before.get(name, "new"),
                after.get(name, "deleted"),
            )
    head, _, content = ended.stdout.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
    status = int(headers.pop("Status", "200").split(" ")[0])
    return Response(content, status if ended.returncode == 0 or head else 500, headers)
