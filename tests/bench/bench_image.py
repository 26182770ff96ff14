"""A new model's image against rebuilding the serving image by its Dockerfile.

Both sides start with the base image, the wheels and the last version's image. Both end with the new
image in a real docker-registry, named by digest. The rebuild uses no layer cache, as on a fresh
build machine. Its push sends only blobs that the registry lacks. A model is 5 MB of new noise.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from infra.images.build import Built, build, push
from infra.images.programs import ProgramFailed, run
from infra.local.processes import DidNotStart, free_port
from infra.local.registry import start_registry
from promote.images.image import build_image
from promote.images.opening import open_image_registry
from promote.images.port import ImageRegistry
from retrain.contract import canonical_json, digest_of_bytes

GOAL = 50
MODEL_BYTES = 5_000_000
ROUNDS = 3
REPOSITORY = "ratchet/flight-delay"
LOCAL = "localhost/ratchet/bench:latest"


def measure() -> list[dict[str, object]]:
    """Return the figure. Without buildah, print the reason and return none."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            program, url = start_registry(Path(folder) / "registry", free_port())
            try:
                return [_figure(Path(folder), url.removeprefix("http://"))]
            finally:
                program.stop()
    except (DidNotStart, ProgramFailed) as reason:
        print(f"no figure for images: {reason}", file=sys.stderr)
        return []


def _figure(folder: Path, host: str) -> dict[str, object]:
    built = build("serving")
    serving = push(built, f"{host}/ratchet")
    registry = open_image_registry(f"http://{host}", base_image=serving.removeprefix(f"{host}/"))
    layer(
        registry, model_folder()
    )  # the last version: what it shares lies in the repository, as in every week but the first
    theirs, ours = [], []
    for _ in range(ROUNDS):
        model = model_folder()
        run(
            "buildah", "rmi", "--force", built.local
        )  # build() takes an image of the same recipe that is here: then nothing would be rebuilt
        theirs.append(
            _seconds(lambda model=model: rebuild(folder / "context", model, f"{host}/ratchet"))
        )
        run("buildah", "rmi", "--force", LOCAL)
        for _ in range(3):
            model = model_folder()
            ours.append(_seconds(lambda model=model: layer(registry, model)))
    return {
        "name": "model image built and pushed, against its Dockerfile rebuilt and pushed",
        "ratio": round(statistics.median(theirs) / statistics.median(ours), 1),
        "goal": GOAL,
        "rebuild_seconds": round(statistics.median(theirs), 1),
        "ratchet_seconds": round(statistics.median(ours), 2),
        "model_bytes": MODEL_BYTES,
    }


def model_folder() -> dict[str, bytes]:
    onnx = os.urandom(MODEL_BYTES)
    return {
        "model.onnx": onnx,
        "model.json": canonical_json(
            {
                "files": {"model.onnx": digest_of_bytes(onnx)},
                "snapshot_id": digest_of_bytes(b"bench"),
            }
        ),
    }


def layer(registry: ImageRegistry, model: dict[str, bytes]) -> str:
    image = build_image(model, base=registry.base_image())
    return registry.push(REPOSITORY, image, tag=image.digest[7:19])


def rebuild(context: Path, model: dict[str, bytes], registry: str) -> str:
    (context / "model").mkdir(parents=True, exist_ok=True)
    for name, content in model.items():
        (context / "model" / name).write_bytes(content)
    serving = build("serving")
    (context / "Dockerfile").write_text(f"FROM {serving.local}\nCOPY model /model\n")
    run(
        "buildah",
        "bud",
        "--quiet",
        "--isolation",
        "chroot",
        "--layers=false",
        "--tag",
        LOCAL,
        str(context),
    )
    return push(Built("rebuilt", LOCAL, 0, 0), registry)


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began
