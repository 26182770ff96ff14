"""Starts a real S3 server on the laptop: versitygw over a folder, built from `s3/go.mod`."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.local.processes import DidNotStart, Program, free_port, start, wait_until_answers

_MODULE = Path(__file__).parent / "s3"
_PACKAGE = "github.com/versity/versitygw/cmd/versitygw"
_REGION = "us-east-1"


@dataclass(frozen=True)
class S3Server:
    """A running server."""

    program: Program
    url: str
    access_key: str
    secret_key: str

    @property
    def env(self) -> Mapping[str, str]:
        """What lets boto3, MLflow and whoever else follows AWS's variables meet this server."""
        return {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": _REGION,
            "AWS_DEFAULT_REGION": _REGION,
        }


def s3_server_binary(cache: Path | None = None) -> Path:
    """Return the server's program. The first call builds it in minutes, later calls find it.

    Raises:
        DidNotStart: There is no Go, or the build failed; the message carries its last lines.
    """
    if not shutil.which("go"):
        raise DidNotStart(
            "the local S3 server is built by Go, which is not there: install Go 1.26 or later"
        )
    named = hashlib.sha256(
        (_MODULE / "go.mod").read_bytes() + (_MODULE / "go.sum").read_bytes()
    ).hexdigest()[:12]
    usual = (
        os.environ.get("RATCHET_CACHE")
        or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ratchet"
    )
    binary = (cache or Path(usual)) / f"versitygw-{named}"
    if not binary.exists():
        binary.parent.mkdir(parents=True, exist_ok=True)
        building = binary.with_name(f".{binary.name}-{os.getpid()}")
        command = [
            "go",
            "build",
            "-C",
            str(_MODULE),
            "-mod=readonly",
            "-trimpath",
            "-ldflags=-s -w",
            "-o",
            str(building.absolute()),
            _PACKAGE,
        ]
        built = subprocess.run(
            command,
            env={**os.environ, "CGO_ENABLED": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode:
            raise DidNotStart(
                f"{' '.join(command)} ended with {built.returncode}:\n{built.stderr[-2000:]}"
            )
        building.replace(binary)  # two builders at once are harmless
    return binary


def start_s3(
    folder: Path,
    *,
    port: int | None = None,
    cache: Path | None = None,
    host: str = "127.0.0.1",
    within: Sequence[str] = (),
) -> S3Server:
    """Return the server, answering; buckets are folders below `folder`/buckets.

    Args:
        folder: All it writes.
        port: Of the host; a free one of this machine when none is named.
        cache: Where its program is kept.
        host: The address it listens on.
        within: What runs the command, such as `nsenter` into the network that has this address.

    Raises:
        DidNotStart: It could not be built, ended, or did not answer in time.
    """
    for part in ("buckets", "metadata"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    access, secret = "ratchet", secrets.token_hex(16)
    gateway = [
        *within,
        str(s3_server_binary(cache)),
        "--port",
        f"{host}:{port}",
        "--region",
        _REGION,
        "--health",
        "/health",
        "--quiet",
    ]
    store = [
        "posix",
        "--sidecar",
        str(folder / "metadata"),
        str(folder / "buckets"),
    ]  # not every file system has extended attributes
    program = start(
        "versitygw",
        [*gateway, *store],
        log=folder / "s3.log",
        env={"ROOT_ACCESS_KEY": access, "ROOT_SECRET_KEY": secret},
    )
    url = f"http://{host}:{port}"
    try:
        wait_until_answers(program, f"{url}/health")
    except DidNotStart:
        program.stop()
        raise
    return S3Server(program, url, access, secret)


if __name__ == "__main__":
    running = start_s3(Path(sys.argv[1]))
    print("\n".join(f"export {name}={value}" for name, value in running.env.items()), flush=True)
    try:
        running.program.process.wait()
    except KeyboardInterrupt:
        running.program.stop()
