"""A vendor's client whose every call fails in the same way."""

from __future__ import annotations


class Broken:
    """Every method, and every method of every attribute, raises the error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Broken:
        return self

    def __call__(self, *_: object, **__: object) -> None:
        raise self._error
