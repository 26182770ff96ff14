"""`ratchet-laptop`, the command of `make up`: the whole loop for a user's own repository."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.processes import (
    DidNotStart,
    adopt_orphans,
    ignore_ending_signals,
    interrupt_on_ending_signals,
)
from infra.local.stack.addresses import say_addresses
from infra.local.stack.laptop import Laptop
from infra.local.stack.terminal import say
from infra.local.stack.users_repository import REMOTE, NotUsable, checked_repository, send_main


def main(arguments: list[str] | None = None) -> int:
    """Run until Ctrl-C and return 0; 1 when a program did not start, 2 for what a person mends."""
    options = _options(arguments)
    try:
        repository = checked_repository(options.repo)
        sources = _sources()
        folder: Path = (options.folder or repository / ".demo").absolute()
        with _alone_in(folder):
            note = send_main(repository, folder / "forge")
            laptop = Laptop(folder, checkout=repository, sources=sources, is_demo=False)
            return _run(laptop, note)
    except NotUsable as problem:
        print(problem, file=sys.stderr)
        return 2


def _run(laptop: Laptop, note: str) -> int:
    adopt_orphans()
    interrupt_on_ending_signals()
    try:
        say(f"Starting MLflow, Airflow, the forge, the cluster and the services in {laptop.folder}")
        laptop.start()
        _say_what_next(laptop, note)
        signal.pause()
    except KeyboardInterrupt:
        say("\nending; the next start goes on from here")
    except DidNotStart as problem:
        print(f"{problem}\nThe logs lie in {laptop.folder / 'logs'}", file=sys.stderr)
        return 1
    finally:
        ignore_ending_signals()
        laptop.stop()
    return 0


def _sources() -> str:
    """Return RETRAIN_SOURCES; a fault in it would show only at the first retraining."""
    sources = os.environ.get("RETRAIN_SOURCES", "")
    try:
        names = json.loads(sources)
    except ValueError:
        names = None
    if not isinstance(names, dict) or not names:
        state = "is not set" if not sources else "is no JSON with a name and an address"
        raise NotUsable(
            f"RETRAIN_SOURCES {state}: it names your warehouse. Set it, such as"
            """ RETRAIN_SOURCES='{"warehouse": "duckdb:////absolute/path.duckdb"}'"""
        )
    return sources


def _say_what_next(laptop: Laptop, note: str) -> None:
    env, here = shlex.quote(str(laptop.write_env())), shlex.quote(str(laptop.checkout))
    say("Everything is up:")
    say_addresses(laptop)
    if note:
        say(f"   Note: {note}.")
    say("In another shell:")
    say(f"   source {env}     # then retrain and promote ask this laptop")
    say("   retrain run MODEL --end DAY    # registers a challenger; promote opens a pull request")
    say(f"   git -C {here} pull --rebase {REMOTE} main    # releases that you merged")
    say(f"   git -C {here} push {REMOTE} main             # your main, to this laptop")
    say("Ctrl-C ends it.")


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder until the end. git ignores it.

    Raises:
        NotUsable: Another process holds the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotUsable(f"Another `make up` runs in {folder}. End it by Ctrl-C.") from None
        yield


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ratchet-laptop", description=__doc__)
    parser.add_argument(
        "--repo",
        type=_folder,
        required=True,
        help="a repository by `retrain init`; RETRAIN_SOURCES names your warehouse",
    )
    parser.add_argument(
        "--folder", type=Path, help="all state; kept for the next start (default: REPO/.demo)"
    )
    return parser.parse_args(arguments)


def _folder(name: str) -> Path:
    if not name:
        raise argparse.ArgumentTypeError("name your repository, as in `make up REPO=FOLDER`")
    return Path(name)


if __name__ == "__main__":
    sys.exit(main())
