"""Requests to one image registry over HTTP: login, retries, and which error an answer becomes.

The session knows Basic and Docker's token protocol. The login goes only to the registry's own
origin and to the token server that the registry names.
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
"""Returns the current user and password. Every login calls this function."""

_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 30.0
_LONGEST_MESSAGE = 500
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


class RegistrySession:
    """Sends requests to one registry. The caller gets an expected answer or one of our errors."""

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
        """Host and port: the beginning of an image's name."""
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
        """Return an answer whose status is among `answers`. Transient faults are retried.

        Args:
            method: Of HTTP.
            path: Below the registry's root, or the whole URL that an earlier answer gave.
            answers: Statuses that the caller expects.
            content: The request's body.
            headers: More headers.
            cut_is_final: Do not retry a broken connection. The caller checks how far the upload
                got.
            into: Gets the body of a 200, from its start, instead of the answer.

        Raises:
            ImageRegistryUnavailable: No answer, or transient faults only. `ImageRegistryBusy`: the
                registry asks for a longer wait than promote accepts.
            ImageRegistryRefused: Any other status. `ImageRegistryLoginRefused`: the registry does
                not accept the login.
        """
        left, wait_seconds = self.tries, _FIRST_WAIT_SECONDS
        while True:
            left, retry_after_seconds = left - 1, 0.0
            try:
                url = self._url.join(path)
                response = self._authorized(method, url, content, headers or {}, into)
            except (httpx2.RequestError, httpx2.InvalidURL) as error:
                if cut_is_final or not left:
                    reason = error or type(error).__name__
                    raise ImageRegistryUnavailable(
                        f"{self._url} did not answer {method} {path[:200]}: {reason}."
                    ) from error
            else:
                if response.status_code in answers:
                    return response
                retry_after_seconds = self._retry_after(response, is_last=not left)
            self._sleep(max(wait_seconds, retry_after_seconds))
            wait_seconds *= 2

    def _retry_after(self, response: httpx2.Response, *, is_last: bool) -> float:
        """Return the seconds to wait before another try.

        Raises:
            ImageRegistryUnavailable: This was the last try.
            ImageRegistryRefused: Another try cannot help.
        """
        request = response.request
        answer = (
            f"{self._url} answered {request.method} {request.url.path} with "
            f"{response.status_code}: {_message(response)}"
        )
        if response.status_code == 401:
            raise ImageRegistryLoginRefused(
                f"{answer} Check PROMOTE_IMAGES_USER and PROMOTE_IMAGES_PASSWORD, "
                "and that this user may push."
            )
        if response.status_code not in _TRANSIENT:
            raise ImageRegistryRefused(
                f"{answer} Check that the login has this right, "
                "and that PROMOTE_IMAGES names a registry."
            )
        seconds = _seconds_of(response.headers.get("retry-after", ""))
        if response.status_code == 429 and (is_last or seconds > _LONGEST_WAIT_SECONDS):
            raise ImageRegistryBusy(f"{answer} The registry asks for a wait of {seconds:.0f} s.")
        if is_last:
            raise ImageRegistryUnavailable(answer)
        return min(seconds, _LONGEST_WAIT_SECONDS)

    def _authorized(
        self,
        method: str,
        url: httpx2.URL,
        content: bytes,
        headers: Mapping[str, str],
        into: BinaryIO | None,
    ) -> httpx2.Response:
        """Send a request, and send it again after a login when the registry asks for one."""
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
        authorization = {"Authorization": login} if login else {}
        request = self._client.build_request(
            method, url, content=content or None, headers={**headers, **authorization}
        )
        # Blobs may be stored elsewhere. httpx2 does not send the login to another origin.
        follows = method in ("GET", "HEAD")
        response = self._client.send(request, stream=True, follow_redirects=follows)
        try:
            if into is None or response.status_code != 200:
                response.read()
            else:
                into.seek(0)
                into.truncate()
                into.writelines(response.iter_bytes())
        finally:
            response.close()
        return response

    def _is_ours(self, url: httpx2.URL) -> bool:
        own = self._url
        return (url.scheme, url.host, url.port) == (own.scheme, own.host, own.port)

    def _log_in(self, response: httpx2.Response) -> bool:
        """Prepare a login for a challenge; return whether another request makes sense."""
        scheme, _, rest = response.headers.get("www-authenticate", "").partition(" ")
        self._is_basic = scheme.lower() == "basic"
        if scheme.lower() == "bearer":
            self._token = "Bearer " + self._fetch_token(dict(_PARAMETER.findall(rest)))
            return True
        refused = response.request.headers.get("authorization")
        return self._is_basic and self._basic() not in ("", refused)

    def _basic(self) -> str:
        if self._credentials is None:
            return ""
        return "Basic " + base64.b64encode(":".join(self._credentials()).encode()).decode()

    def _fetch_token(self, challenge: Mapping[str, str]) -> str:
        realm = httpx2.URL(challenge.get("realm", ""))
        if realm.scheme != "https" and (realm.scheme, self._url.scheme) != ("http", "http"):
            raise ImageRegistryLoginRefused(
                f"{self._url} names {realm} as its token server. A login goes over https only."
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
                f"the token server {realm} answered {answer.status_code}: {_message(answer)} "
                "Check PROMOTE_IMAGES_USER and PROMOTE_IMAGES_PASSWORD."
            )
        return token


def _message(response: httpx2.Response) -> str:
    """Return a registry's error message, shortened. Some registries answer HTML."""
    errors = _object(response).get("errors")
    if not isinstance(errors, list):
        return f"{response.text[:200]!r}."
    objects = [error for error in errors if isinstance(error, dict)]
    messages = [f"{error.get('code')} {error.get('message')}" for error in objects]
    return "; ".join(messages)[:_LONGEST_MESSAGE] + "."


def _object(response: httpx2.Response) -> dict[str, Any]:
    try:
        value = response.json()
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _seconds_of(retry_after: str) -> float:
    """Return the seconds of a Retry-After header (RFC 9110, 10.2.3); 0 for an unreadable one.

    The header may be a date.

    >>> _seconds_of("7"), _seconds_of("soon"), _seconds_of("Fri, 31 Dec 1999 23:59:59 GMT")
    (7.0, 0.0, 0.0)
    """
    if retry_after.isdigit():
        return float(retry_after)
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0
