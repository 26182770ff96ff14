"""Whether the tests of the real local cluster can run here, and how they wait.

`python -m tests.grounds.kubernetes_ground` fails with the reason when they cannot run.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from infra.images.build import Built, push
from infra.images.programs import run, said
from infra.local.kubernetes import doctor
from infra.local.kubernetes.build import built_folder, is_built
from infra.local.kubernetes.errors import MachineLacks
from tests.grounds.postgres import why_no_postgres


def why_not() -> str:
    """Why these tests cannot run here. Empty when they can."""
    if not is_built():
        return f"the cluster's programs are not in {built_folder()}: run make cluster-build once"
    try:
        doctor.check_run(Path("/tmp"))
    except MachineLacks as problem:
        return str(problem)
    return next(
        (
            f"{program} is missing: apt-get install {program}"
            for program in ("buildah", "mmdebstrap")
            if shutil.which(program) is None
        ),
        "",
    )


def push_altered(image: str, name: str, registry: str, *step: str) -> str:
    """Change an image by one step of buildah and push it as `ratchet/<name>`.

    Args:
        image: The image to change.
        name: The new image's name in the registry.
        registry: Host and port of the registry.
        step: A command of buildah, such as `copy`. `{container}` stands for the container's name.

    Returns:
        The pushed image's name with its digest.
    """
    container = said("buildah", "from", "--pull=never", image)
    try:
        run("buildah", *(word.replace("{container}", container) for word in step))
        local = f"localhost/ratchet/{name}:latest"
        run("buildah", "commit", "--quiet", container, local)
    finally:
        run("buildah", "rm", container)
    try:
        unmeasured = Built(name, local, 0, 0)
        return push(unmeasured, f"{registry}/ratchet", plain=True)
    finally:
        run("buildah", "rmi", local)


def wait_until(is_true: Callable[[], bool], *, seconds: float = 60.0) -> float:
    began = time.monotonic()
    while not is_true():
        assert time.monotonic() - began < seconds, "the condition did not become true"
        time.sleep(0.1)  # bounded by the line above
    return time.monotonic() - began


def main() -> str | None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    return why_not() or why_no_postgres() or None


if __name__ == "__main__":
    sys.exit(main())
