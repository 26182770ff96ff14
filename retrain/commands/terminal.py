"""How commands meet the terminal: lines on stderr, exit codes, the moment a person typed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NoReturn

import typer

from retrain.environment import SettingsRefused
from retrain.errors import (
    InvalidSpec,
    NaiveTimeError,
    RetrainError,
    UnknownModel,
    UnknownSource,
    WindowInFuture,
)
from retrain.snapshot.window import check_not_in_future

EXIT_FAILED, EXIT_USAGE, EXIT_TRY_AGAIN, EXIT_UNCHANGED = 1, 2, 75, 99
_FIRST_YEAR = 1970


@contextmanager
def errors_as_exit_codes() -> Iterator[None]:
    """End the program with a sentence and an exit code when one of our own errors is raised.

    Any other error is a fault of Ratchet and keeps its traceback.
    """
    try:
        yield
    except SettingsRefused as error:
        _fail("\n".join(["the settings are wrong:", *error.problems]), EXIT_USAGE)
    except (InvalidSpec, UnknownModel, UnknownSource, NaiveTimeError, WindowInFuture) as error:
        _fail(str(error), EXIT_USAGE)
    except RetrainError as error:
        _fail(str(error), EXIT_TRY_AGAIN if error.is_transient else EXIT_FAILED)


def window_end(text: str) -> datetime:
    """Return the moment that a person typed; without a time zone it is UTC.

    Raises:
        WindowInFuture: The rows of such a window are not there yet.
    """
    moment = _moment(text)
    check_not_in_future(moment, now=datetime.now(UTC))
    return moment


def say(line: str) -> None:
    """Print progress or a mistake on stderr: stdout is for the result."""
    print(line, file=sys.stderr, flush=True)


def _moment(text: str) -> datetime:
    usual = "a day or a moment such as 2013-07-08 or 2013-07-08T06:00:00+00:00, from 1970 on"
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        _fail(f"--end must be {usual}, is `{text}`", EXIT_USAGE)
    if moment.year < _FIRST_YEAR:
        _fail(f"--end must be {usual}, is `{text}`", EXIT_USAGE)
    return moment


def _fail(sentence: str, code: int) -> NoReturn:
    say(sentence)
    raise typer.Exit(code)
