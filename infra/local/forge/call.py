"""What every REST operation takes and returns: one checked request, one answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlencode

from infra.local.forge.answers import Answers
from infra.local.forge.pulls import Pulls
from infra.local.forge.refusals import Refusal, invalid
from infra.local.forge.repository import Repository
from infra.local.forge.store import Store

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """A status and what is sent with it; a body of None is an empty one."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """A request of a signed-in user; `body` is the JSON that came, `{}` when none did."""

    pulls: Pulls
    answers: Answers
    login: str
    url: str
    """As it was asked, without the query."""
    path: Mapping[str, Any]
    query: Mapping[str, str]
    body: Any

    @property
    def repository(self) -> Repository:
        """The git repository."""
        return self.pulls.repository

    @property
    def store(self) -> Store:
        """What git does not hold."""
        return self.pulls.store

    def required(self, name: str) -> str:
        """A text that the body must hold.

        Raises:
            Refusal: It is missing, empty or no text.
        """
        value = self.body.get(name)
        if not isinstance(value, str) or not value:
            raise Refusal(422, f'Invalid request.\n\n"{name}" wasn\'t supplied.')
        return value

    def text(self, name: str) -> str | None:
        """A text that the body may hold.

        Raises:
            Refusal: It is no text.
        """
        value = self.body.get(name)
        if value is not None and not isinstance(value, str):
            raise Refusal(
                422, f"Invalid request.\n\nFor 'properties/{name}', {value!r} is not a string."
            )
        return value

    def texts(self, name: str) -> list[str]:
        """A list of texts that the body may hold, or may be.

        Raises:
            Refusal: It is something else.
        """
        values = self.body if isinstance(self.body, list) else self.body.get(name) or []
        if not isinstance(values, list) or not all(
            isinstance(value, str) and value for value in values
        ):
            raise Refusal(
                422,
                f"Invalid request.\n\nFor 'properties/{name}', {values!r} is not an array of"
                " strings.",
            )
        return values

    def commit_sha(self, name: str) -> str:
        """The commit that a name means.

        Raises:
            Refusal: It means none.
        """
        sha = self.repository.resolve(name)
        if sha is None:
            raise Refusal(422, f"No commit found for SHA: {name}")
        return sha

    def page_of(self, total: int, fetch: Callable[[int, int], list[Any]]) -> Answer:
        """Return the requested page with links to the other pages.

        `fetch` takes how many items to skip, and how many to return.
        """
        size = min(max(_whole(self.query.get("per_page"), 30), 1), 100)
        page, last = max(_whole(self.query.get("page"), 1), 1), max(-(-total // size), 1)
        others = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
        wanted = [
            name for name in others if (page < last if name in {"next", "last"} else page > 1)
        ]
        link = ", ".join(
            f'<{self.url}?{urlencode({**self.query, "page": others[name]})}>; rel="{name}"'
            for name in wanted
        )
        return Answer(200, fetch((page - 1) * size, size), {"Link": link} if link else {})

    def page_of_list(self, items: list[T], shape: Callable[[T], Any]) -> Answer:
        """The page that was asked for of a list in memory."""
        return self.page_of(
            len(items), lambda skip, size: [shape(item) for item in items[skip : skip + size]]
        )


def within(resource: str, name: str, text: str | None, most: int) -> str | None:
    """Return the text.

    Raises:
        Refusal: It has more characters than GitHub takes there.
    """
    if text is not None and len(text) > most:
        raise invalid(
            resource, name, "custom", f"{name} is too long (maximum is {most} characters)"
        )
    return text


def _whole(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdecimal() else default
