"""How commands meet the terminal: exit codes, JSON, log lines, and instants that people type."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import NoReturn

import typer

from promote.errors import InvalidName, PromoteError, Unavailable
from retrain.environment import SettingsRefused

EXIT_FAILED, EXIT_USAGE, EXIT_TRY_AGAIN = 1, 2, 75


@contextmanager
def errors_as_exit_codes() -> Iterator[None]:
    """End the program with a sentence and an exit code when one of our own errors is raised.

    Any other error is a fault of Ratchet and keeps its traceback.
    """
    try:
        yield
    except SettingsRefused as error:
        fail("\n".join(["the settings are wrong:", *error.problems]), EXIT_USAGE)
    except InvalidName as error:
        fail(str(error), EXIT_USAGE)
    except Unavailable as error:
        fail(str(error), EXIT_TRY_AGAIN)
    except PromoteError as error:
        fail(str(error), EXIT_FAILED)


def fail(sentence: str, code: int) -> NoReturn:
    """Print a sentence to standard error and end the program."""
    typer.echo(sentence, err=True)
    raise typer.Exit(code)


def print_result(facts: object, text: str, *, as_json: bool) -> None:
    """Print a result as one line of JSON for scripts, or as text for people."""
    print(json.dumps(facts) if as_json else text, flush=True)


def log_to_stderr() -> None:
    """Log one line an event: time, level, then `name=value` pairs to search for."""
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    logging.getLogger("promote").setLevel(logging.INFO)


def aware_instant(text: str) -> datetime:
    """Return the instant that a person typed; without a time zone it is a mistake in use."""
    with suppress(ValueError):
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return at
    fail(
        f"{text!r} is no instant. Write date, time and time zone: 2026-05-04T12:00:00Z.",
        EXIT_USAGE,
    )
