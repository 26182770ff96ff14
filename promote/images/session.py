"""One conversation with an image registry over HTTP: who we are, what is tried again, and which of our errors an answer is.

It knows Basic and Docker's token protocol; a login goes to the registry's own origin and to the token server that it names, nowhere else.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Mapping, Set
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO

import httpx2

from promote.errors import (
    ImageRegistryBusy,
    ImageRegistryLoginRefused,
    ImageRegistryRefused,
    ImageRegistryUnavailable,
)

Credentials = Callable[[], tuple[str, str]]
"""Returns user and password as they are now; asked anew for every login."""

_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 30.0
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


class RegistrySession:
    """Sends requests to one registry; an answer is one that was asked for, or an error of ours."""

    def __init__(
        self,
        url: str,
        *,
        credentials: Credentials | None = None,
        transport: httpx2.BaseTransport | None = None,
        timeout_seconds: float = 30.0,
        tries: int = 5,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url, self._credentials, self._sleep = httpx2.URL(url), credentials, sleep
        self._token, self._is_basic = "", False
        self.tries = tries
        self._client = httpx2.Client(
            transport=transport,
            timeout=timeout_seconds,
            headers={"Accept-Encoding": "identity", "User-Agent": "ratchet-promote"},
        )

    @property
    def host(self) -> str:
        """Host and port, as an image's name begins."""
        return self._url.netloc.decode()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        answers: Set[int],
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        cut_is_final: bool = False,
        into: BinaryIO | None = None,
    ) -> httpx2.Response:
        """Return an answer whose status is among `answers`; a fault that may pass is waited out.

        `path` is below the root, or the whole URL that an earlier answer gave. With `cut_is_final` only answers are waited out: after a cut the caller looks.
        `into` gets the body of a 200, from its start, instead of the answer.

        Raises:
            ImageRegistryUnavailable: No answer, or faults only; `ImageRegistryBusy` when it asked us to wait longer than we do.
            ImageRegistryRefused: Any other status; `ImageRegistryLoginRefused` when it does not know us.
        """
        left = self.tries
        wait_seconds = _FIRST_WAIT_SECONDS
        while True:
            left -= 1
            try:
                response = self._authorized(
                    method, self._url.join(path), content, headers or {}, into
                )
            except (httpx2.RequestError, httpx2.InvalidURL) as error:
                if cut_is_final or not left:
                    raise ImageRegistryUnavailable(
                        f"{self._url} did not answer {method} {path[:200]}: {error or type(error).__name__}."
                    ) from error
                asked_seconds = 0.0
            else:
                if response.status_code in answers:
                    return response
                asked_seconds = self._wait_asked(response, is_last=not left)
            self._sleep(max(wait_seconds, asked_seconds))
            wait_seconds *= 2

    def _wait_asked(self, response: httpx2.Response, *, is_last: bool) -> float:
        """Return the seconds to wait before another try; raise when there is none."""
        said = f"{self._url} answered {response.request.method} {response.request.url.path} with {response.status_code}: {_words(response)}"
        if response.status_code == 401:
            raise ImageRegistryLoginRefused(
                f"{said} See PROMOTE_IMAGES_USER and PROMOTE_IMAGES_PASSWORD, and that they may push."
            )
        if response.status_code not in _TRANSIENT:
            raise ImageRegistryRefused(
                f"{said} See that the login may do this, and that PROMOTE_IMAGES names a registry."
            )
        seconds = _retry_after(response.headers.get("retry-after", ""))
        if response.status_code == 429 and (is_last or seconds > _LONGEST_WAIT_SECONDS):
            raise ImageRegistryBusy(f"{said} It asks for {seconds:.0f} s of patience.")
        if is_last:
            raise ImageRegistryUnavailable(said)
        return min(seconds, _LONGEST_WAIT_SECONDS)

    def _authorized(
        self,
        method: str,
        url: httpx2.URL,
        content: bytes,
        headers: Mapping[str, str],
        into: BinaryIO | None,
    ) -> httpx2.Response:
        response = self._once(method, url, content, headers, into)
        if response.status_code == 401 and self._is_ours(url) and self._log_in(response):
            return self._once(method, url, content, headers, into)
        return response

    def _once(
        self,
        method: str,
        url: httpx2.URL,
        content: bytes,
        headers: Mapping[str, str],
        into: BinaryIO | None,
    ) -> httpx2.Response:
        login = (self._basic() if self._is_basic else self._token) if self._is_ours(url) else ""
        request = self._client.build_request(
            method,
            url,
            content=content or None,
            headers={**headers, **({"Authorization": login} if login else {})},
        )
        response = self._client.send(
            request, stream=True, follow_redirects=method in ("GET", "HEAD")
        )  # blobs may lie elsewhere; httpx2 keeps the login back
        try:
            if into is None or response.status_code != 200:
                response.read()
            else:
                into.seek(0)
                into.truncate()
                for part in response.iter_bytes():
                    into.write(part)
        finally:
            response.close()
        return response

    def _is_ours(self, url: httpx2.URL) -> bool:
        return (url.scheme, url.host, url.port) == (
            self._url.scheme,
            self._url.host,
            self._url.port,
        )

    def _log_in(self, response: httpx2.Response) -> bool:
        """Answer a challenge; False when we have nothing to say to it."""
        scheme, _, rest = response.headers.get("www-authenticate", "").partition(" ")
        self._is_basic = scheme.lower() == "basic"
        if scheme.lower() == "bearer":
            self._token = "Bearer " + self._fetch_token(dict(_PARAMETER.findall(rest)))
            return True
        return self._is_basic and self._basic() not in (
            "",
            response.request.headers.get("authorization"),
        )

    def _basic(self) -> str:
        return (
            "Basic " + base64.b64encode(":".join(self._credentials()).encode()).decode()
            if self._credentials
            else ""
        )

    def _fetch_token(self, challenge: Mapping[str, str]) -> str:
        realm = httpx2.URL(challenge.get("realm", ""))
        if realm.scheme != "https" and (realm.scheme, self._url.scheme) != ("http", "http"):
            raise ImageRegistryLoginRefused(
                f"{self._url} sends us to {realm} for a token; a login goes over https only."
            )
        query = httpx2.QueryParams(
            {"service": challenge.get("service", ""), "scope": challenge.get("scope", "").split()}
        )
        login = self._basic()
        answer = self._client.get(
            realm.copy_merge_params(query), headers={"Authorization": login} if login else {}
        )
        if answer.status_code in _TRANSIENT:
            raise httpx2.ReadError(
                f"the token server {realm.host} answered {answer.status_code}",
                request=answer.request,
            )
        token = _object(answer).get("token") or _object(answer).get("access_token")
        if answer.status_code != 200 or not isinstance(token, str):
            raise ImageRegistryLoginRefused(
                f"the token server {realm} answered {answer.status_code}: {_words(answer)} See PROMOTE_IMAGES_USER and …_PASSWORD."
            )
        return token


def _words(response: httpx2.Response) -> str:
    """Return what a registry says about an error, short; registries answer HTML too."""
    errors = _object(response).get("errors")
    if isinstance(errors, list):
        return (
            "; ".join(
                f"{error.get('code')} {error.get('message')}"
                for error in errors
                if isinstance(error, dict)
            )[:500]
            + "."
        )
    return f"{response.text[:200]!r}."


def _object(response: httpx2.Response) -> dict[str, Any]:
    try:
        value = response.json()
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _retry_after(value: str) -> float:
    """Return the seconds of a Retry-After header, which may be a date (RFC 9110, 10.2.3); 0 when it says nothing.

    >>> _retry_after("7"), _retry_after("soon"), _retry_after("Fri, 31 Dec 1999 23:59:59 GMT")
    (7.0, 0.0, 0.0)
    """
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0
