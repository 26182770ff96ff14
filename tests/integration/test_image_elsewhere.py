"""A model folder gives the same image digest in every environment.

Each test is a real process with another Python, user, umask, time zone or locale.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from promote.images.image import build_image
from retrain.contract import canonical_json, digest_of_bytes

REPOSITORY_ROOT = Path(__file__).parents[2]
NOBODY = 65534
ONNX = b"the fitted model" * 9000
FOLDER = {
    "model.onnx": ONNX,
    "model.json": canonical_json(
        {"files": {"model.onnx": digest_of_bytes(ONNX)}, "snapshot_id": digest_of_bytes(b"")}
    ),
}
PROGRAM = """
import json, os, sys
os.umask(int(sys.argv[1], 8))
sys.path.insert(0, sys.argv[2])
from promote.images.image import build_image
if int(sys.argv[3]) != os.getuid():
    os.setuid(int(sys.argv[3]))
folder = {name: bytes.fromhex(content) for name, content in json.load(sys.stdin).items()}
print(build_image(folder).digest)
"""


def digest_elsewhere(
    interpreter: str, umask: str = "022", user: int | None = None, **environment: str
) -> str:
    command = [
        interpreter,
        "-B",
        "-I",
        "-c",
        PROGRAM,
        umask,
        str(REPOSITORY_ROOT),
        str(os.getuid() if user is None else user),
    ]
    folder = json.dumps({name: content.hex() for name, content in FOLDER.items()})
    run = subprocess.run(
        command,
        check=False,
        input=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.mark.parametrize(
    ("umask", "environment"),
    [
        ("077", {}),
        ("000", {"TZ": "Pacific/Kiritimati"}),
        ("022", {"TZ": "America/New_York", "LC_ALL": "C", "HOME": "/nowhere", "USER": "someone"}),
    ],
)
def test_another_umask_time_zone_and_locale_give_the_same_digest(
    umask: str, environment: dict[str, str]
) -> None:
    assert digest_elsewhere(sys.executable, umask, **environment) == build_image(FOLDER).digest


def test_another_user_gives_the_same_digest() -> None:
    if os.getuid() != 0:
        pytest.skip("only root may become another user")
    assert digest_elsewhere(sys.executable, user=NOBODY) == build_image(FOLDER).digest


def test_every_python_of_this_machine_gives_the_same_digest() -> None:
    interpreters = other_interpreters()
    if not interpreters:
        pytest.skip(
            "this machine has one Python only; another of 3.10 to 3.13 would be compared with it"
        )
    digests = {path: digest_elsewhere(path) for path in interpreters}
    assert set(digests.values()) == {build_image(FOLDER).digest}, digests


def other_interpreters() -> list[str]:
    """One interpreter for each other minor version of Python on this machine."""
    names = [f"python3.{minor}" for minor in (10, 11, 12, 13)]
    beside = [
        str(path)
        for name in names
        for path in sorted(Path(sys.base_prefix).parent.glob(f"*/bin/{name}"))
    ]
    candidates = [*beside, *(found for name in names if (found := shutil.which(name)))]
    runnable = {version_of(path): path for path in candidates}
    return [
        path for version, path in runnable.items() if version not in (None, sys.version_info[:2])
    ]


def version_of(interpreter: str) -> tuple[int, int] | None:
    command = [interpreter, "-I", "-c", "import sys; print(*sys.version_info[:2])"]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    if run.returncode != 0:  # a version manager's shim for a version that is not there
        return None
    major, minor = run.stdout.split()
    return int(major), int(minor)
