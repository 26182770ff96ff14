"""HTTP as a script needs it: JSON in, JSON out, an error that names the address."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

T = TypeVar("T")


class Refused(RuntimeError):
    """The server answered with an error status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def fetch(method: str, url: str, body: object = None, headers: dict[str, str] | None = None) -> Any:
    """Return the parsed JSON answer.

    Raises:
        Refused: With the status and the answer's text.
    """
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        url, content, {"Content-Type": "application/json", **(headers or {})}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise Refused(
            f"{method} {url}: {error.code}: {error.read().decode(errors='replace')[:500]}",
            error.code,
        ) from error


def press_button(page: str, **form: str) -> None:
    """Send a page's own form, as a browser does when a person presses a button on it.

    Raises:
        Refused: With the status and the page's text.
    """
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(page))
    request = urllib.request.Request(
        page, urlencode(form).encode(), {"Origin": origin}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=30):
            return
    except urllib.error.HTTPError as error:
        raise Refused(
            f"POST {page}: {error.code}: {error.read().decode(errors='replace')[:500]}", error.code
        ) from error


def wait_for(
    what: str,
    look: Callable[[], T | None],
    *,
    timeout_seconds: float = 120,
    every_seconds: float = 0.25,
) -> T:
    """Return the first thing that `look` returns.

    Raises:
        TimeoutError: Names what did not come.
    """
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        time.sleep(every_seconds)  # other programs' states are learnt by asking
    raise TimeoutError(f"{what} did not happen within {timeout_seconds:.0f} s")
