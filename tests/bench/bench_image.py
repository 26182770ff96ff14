"""Building and pushing a new model's image: Ratchet against two ways to use a Dockerfile.

- `rebuild`: the serving image is built again without a layer cache, as on a fresh machine, and
  then gets the model.
- `copy`: the serving image is cached, and the Dockerfile has one COPY of the model.

All sides begin with the base, the wheels and the last version's image. They end with the new image
in a real docker-registry, named by digest. A push sends only blobs that the registry lacks. A model
is 5 MB of noise, different each time.
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
    """Return the figure; nothing, with the reason on stderr, where images cannot be built."""
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
    # The last version: as in every week but the first, the repository has the shared layers.
    layer(registry, model_folder())
    seconds: dict[str, list[float]] = {"rebuild": [], "copy": [], "ratchet": []}

    def time_side(side: str, act: Callable[[dict[str, bytes]], object]) -> None:
        model = model_folder()
        began = time.perf_counter()
        act(model)
        seconds[side].append(time.perf_counter() - began)

    for _ in range(ROUNDS):
        # build() reuses an image with the same inputs. Without one it builds again.
        run("buildah", "rmi", "--force", built.local)
        for side in ("rebuild", "copy"):
            time_side(side, lambda model: rebuild(folder / "context", model, f"{host}/ratchet"))
            run("buildah", "rmi", "--force", LOCAL)
        for _ in range(3):
            time_side("ratchet", lambda model: layer(registry, model))
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    return {
        "name": "model image built and pushed, against its Dockerfile rebuilt and pushed",
        "ratio": round(medians["rebuild"] / medians["ratchet"], 1),
        "goal": GOAL,
        "rebuild_seconds": round(medians["rebuild"], 1),
        "copy_seconds": round(medians["copy"], 2),
        "ratio_to_copy": round(medians["copy"] / medians["ratchet"], 1),
        "ratchet_seconds": round(medians["ratchet"], 2),
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
    """Build and push a Dockerfile's image. `build` reuses the serving image when it is cached."""
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
