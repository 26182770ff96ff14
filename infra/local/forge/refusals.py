"""The one error of the forge, and the sentences and codes by which GitHub says no."""

from __future__ import annotations


class Refusal(Exception):
    """An error answer. `errors` is GitHub's list of wrong fields."""

    def __init__(
        self, status: int, message: str, errors: list[dict[str, object]] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = errors


def invalid(
    resource: str, field: str | None = None, code: str = "invalid", message: str | None = None
) -> Refusal:
    """Return the 422 that names one field, as GitHub's validation does.

    >>> invalid("PullRequest", "head").errors
    [{'resource': 'PullRequest', 'code': 'invalid', 'field': 'head'}]
    """
    error: dict[str, object] = {"resource": resource, "code": code}
    if field is not None:
        error["field"] = field
    if message is not None:
        error["message"] = message
    return Refusal(422, "Validation Failed", [error])


def not_found() -> Refusal:
    """Return the 404 for a thing that is not there, or that the caller may not see."""
    return Refusal(404, "Not Found")
