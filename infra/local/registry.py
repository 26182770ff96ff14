"""Starts a real image registry on loopback: Debian's docker-registry (CNCF distribution 2.8)."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.local.processes import DidNotStart, Program, start, wait_until_answers


def start_registry(
    folder: Path, port: int, *, auth: Mapping[str, Any] | None = None
) -> tuple[Program, str]:
    """Return the registry, answering, and its URL.

    Args:
        folder: Holds the images, the configuration and the log. A later start continues with them.
        port: Of 127.0.0.1, free.
        auth: Distribution's own `auth` section, such as `{"htpasswd": {"realm": …, "path": …}}`.
            Without one everybody may push.

    Raises:
        DidNotStart: docker-registry is not installed, ended, or did not answer in time.
    """
    if shutil.which("docker-registry") is None:
        raise DidNotStart(
            "there is no docker-registry: apt-get install docker-registry (and leave its service"
            " off)"
        )
    folder.mkdir(parents=True, exist_ok=True)
    address = f"127.0.0.1:{port}"
    health = {"storagedriver": {"enabled": True, "interval": "10s", "threshold": 3}}
    configuration = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder.absolute() / "images")}},
        "http": {
            "addr": address,
            "secret": "of the laptop: it signs upload addresses of one process",
        },
        "health": health,
        **({"auth": dict(auth)} if auth else {}),
    }
    path = folder / "registry.json"
    path.write_text(json.dumps(configuration))  # JSON is YAML
    program = start(
        "registry", ["docker-registry", "serve", str(path.absolute())], log=folder / "registry.log"
    )
    try:
        wait_until_answers(program, f"http://{address}/")  # /v2/ may ask for a login
    except DidNotStart:
        program.stop()
        raise
    return program, f"http://{address}"


if __name__ == "__main__":
    running, url = start_registry(Path(sys.argv[1]), int(sys.argv[2]))
    print(f"the registry answers at {url}; Ctrl-C ends it")
    try:
        running.process.wait()
    except KeyboardInterrupt:
        running.stop()
