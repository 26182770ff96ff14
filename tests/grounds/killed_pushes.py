"""Pushes an image in a child that kills itself with -9 before its n-th act on the file system.

It does so for every n and checks what is left. `python -m tests.grounds.killed_pushes FOLDER`
prints one JSON line for each kill. It is a program because a process with threads should not fork.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

from promote.images.image import Image, build_image
from promote.images.layout import LayoutRegistry
from retrain.contract import canonical_json, digest_of_bytes

REPOSITORY = "ratchet/flight-delay"
ACTS = {"open", "write", "flush", "fsync", "close", "mkdir", "replace", "unlink", "fchmod", "flock"}


def image_of(onnx: bytes) -> Image:
    return build_image(
        {
            "model.onnx": onnx,
            "model.json": canonical_json(
                {
                    "files": {"model.onnx": digest_of_bytes(onnx)},
                    "snapshot_id": digest_of_bytes(b""),
                }
            ),
        }
    )


FIRST, SECOND = image_of(b"first" * 5000), image_of(b"second" * 5000)


def push_and_die(root: Path, nth: int) -> bool:
    """Return whether the push came to its end before its `nth` act."""
    child = os.fork()
    if child == 0:
        acts = 0

        def count(_frame: object, event: str, function: object) -> None:
            nonlocal acts
            if event == "c_call" and getattr(function, "__name__", "") in ACTS:
                acts += 1
                if acts == nth:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(count)
        LayoutRegistry(root).push(REPOSITORY, SECOND, tag="v2")
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status not in (0, signal.SIGKILL):
        raise RuntimeError(f"the child neither pushed nor was killed at act {nth}: {status}")
    return status == 0


def damaged_blobs(root: Path) -> list[str]:
    blobs = (root / REPOSITORY / "blobs" / "sha256").glob("*")
    return [
        path.name for path in blobs if hashlib.sha256(path.read_bytes()).hexdigest() != path.name
    ]


def named(root: Path) -> int:
    """Return how many images the index names."""
    index = root / REPOSITORY / "index.json"
    return len(json.loads(index.read_bytes())["manifests"]) if index.exists() else 0


def main(root: Path) -> None:
    for earlier in (False, True):
        nth, ended = 0, False
        while not ended:
            nth += 1
            images = root / f"{earlier}-{nth}"
            registry = LayoutRegistry(images)
            if earlier:
                registry.push(REPOSITORY, FIRST, tag="v1")
            ended = push_and_die(images, nth)
            report = {
                "earlier": earlier,
                "nth": nth,
                "ended": ended,
                "named": named(images),
                "found": registry.find(REPOSITORY, "v2"),
                "damaged": damaged_blobs(images),
                "pushed_again": registry.push(REPOSITORY, SECOND, tag="v2"),
                "found_again": registry.find(REPOSITORY, "v2"),
                "first": registry.find(REPOSITORY, "v1"),
                "leftovers": [path.name for path in (images / REPOSITORY).glob(".unfinished*")],
            }
            print(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
