"""`python -m infra.local.forge`: serves one repository until SIGTERM, by default on 127.0.0.1."""

from __future__ import annotations

import argparse
import logging
import os
import re
import socket
import sys
from pathlib import Path

import uvicorn

from infra.local.forge.app import files_below, forge, seed
from infra.local.forge.ruleset import parse_ruleset


def main() -> int:
    """Serve; 1 when the port is taken or the folder cannot be used, and the message says so."""
    options = _options()
    token = os.environ.get("FORGE_TOKEN", "")
    if not token:
        return _fail(
            "FORGE_TOKEN is not set: the forge needs to know which token to accept. Set it to"
            " any secret, and give promote the same as PROMOTE_FORGE_TOKEN."
        )
    try:
        listener = socket.create_server((options.host, options.port))
    except OSError as error:
        return _fail(
            f"Port {options.port} of {options.host} cannot be used ({error.strerror}). End what"
            " listens there, or choose another by --port."
        )
    try:
        if options.seed is not None:
            seed(options.folder, files_below(options.seed, *options.only))
        logins = {os.environ.get("FORGE_REVIEWER_TOKEN", token): "reviewer", token: options.login}
        ruleset = parse_ruleset(options.ruleset.read_text()) if options.ruleset else None
        application = forge(
            options.folder, options.repository, logins, host=options.host, ruleset=ruleset
        )
    except OSError as error:
        return _fail(
            f"The folder {options.folder} cannot be used ({error.strerror}). Choose one that you"
            " may write, by --folder."
        )
    root = f"http://{options.host}:{listener.getsockname()[1]}"
    print(
        f"{options.repository} for people {root}/{options.repository}/pulls, for programs"
        f" {root}/api/v3, for git {root}/{options.repository}.git",
        flush=True,
    )
    # who merged, closed and pushed; no other program's lines
    logging.basicConfig(format="%(asctime)s %(message)s")
    logging.getLogger("infra.local.forge").setLevel(logging.INFO)
    server = uvicorn.Server(
        uvicorn.Config(
            application, log_level="warning", timeout_graceful_shutdown=2, timeout_keep_alive=75
        )
    )
    server.run([listener])
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m infra.local.forge",
        description="A forge with GitHub's REST operations over a bare git repository. "
        "FORGE_TOKEN is the bot's token, FORGE_REVIEWER_TOKEN a person's.",
    )
    parser.add_argument(
        "--repository", type=_full_name, required=True, help="owner/name, such as acme/ratchet"
    )
    parser.add_argument(
        "--folder", type=Path, required=True, help="the bare repository; made when nothing is there"
    )
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address; whoever reaches it may merge on its pages (default: %(default)s)",
    )
    parser.add_argument(
        "--login", default="ratchet-bot", help="whose the token is (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=Path, help="a working tree from which an empty repository gets its main"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="of the working tree, only these folders",
    )
    parser.add_argument(
        "--ruleset",
        type=Path,
        help="a GitHub ruleset in JSON: main then takes only pull requests with its statuses"
        " and reviews (default: no rules)",
    )
    return parser.parse_args()


def _full_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]+/[A-Za-z0-9._-]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not owner/name, such as acme/ratchet")
    return text


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
