"""The image folder under kill -9, several writers, a full disk and another user's rights.

Processes and file systems are real.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from promote.images.layout import LayoutRegistry
from tests.grounds.killed_pushes import FIRST, REPOSITORY, SECOND, image_of

ROOT = Path(__file__).parents[2]
PUSHES = """
import sys
from pathlib import Path
from promote.images.layout import LayoutRegistry
from tests.grounds.killed_pushes import REPOSITORY, image_of
registry = LayoutRegistry(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(15):
    registry.push(REPOSITORY, image_of(b"shared %d" % number), tag=f"shared-{number}")
    own = image_of(b"%s %d" % (sys.argv[2].encode(), number))
    registry.push(REPOSITORY, own, tag=f"{sys.argv[2]}-{number}")
"""
REFUSED = """
import os, sys
from pathlib import Path
from promote.errors import ImageFolderFull, ImageFolderUnwritable
from promote.images.layout import LayoutRegistry
from tests.grounds.killed_pushes import REPOSITORY, image_of
image = image_of(os.urandom(4_000_000))
if len(sys.argv) > 2:
    os.setuid(int(sys.argv[2]))
try:
    LayoutRegistry(Path(sys.argv[1])).push(REPOSITORY, image, tag="v1")
except ImageFolderUnwritable as error:
    print(type(error).__name__, error)
if len(sys.argv) == 2:
    print(sorted(path.name for path in Path(sys.argv[1]).rglob("*") if path.is_file()))
"""


def test_a_push_killed_anywhere_leaves_a_valid_folder_and_the_next_ends_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.grounds.killed_pushes", str(tmp_path)]
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120, cwd=ROOT)
    reports = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(reports) > 60
    for report in reports:
        assert report["damaged"] == report["leftovers"] == [], report
        assert report["found"] in (
            (SECOND.digest,) if report["ended"] else (None, SECOND.digest)
        ), report
        assert report["named"] == report["earlier"] + (report["found"] is not None), (
            "the index names what is not whole"
        )
        assert report["pushed_again"] == report["found_again"] == SECOND.digest, report
        assert report["first"] == (FIRST.digest if report["earlier"] else None), report
    assert sum(report["ended"] for report in reports) == 2


def test_pushes_of_several_processes_at_once_all_count(tmp_path: Path) -> None:
    names = ["one", "two", "three"]
    pushers = [
        subprocess.Popen(
            [sys.executable, "-c", PUSHES, str(tmp_path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        for name in names
    ]
    for pusher in pushers:
        assert pusher.stdout is not None
        assert pusher.stdout.readline() == b"ready\n"
    for pusher in pushers:
        assert pusher.stdin is not None
        pusher.stdin.write(b"go\n")
        pusher.stdin.flush()
    for pusher in pushers:
        pusher.communicate(timeout=60)
        assert pusher.returncode == 0
    registry = LayoutRegistry(tmp_path)
    for number in range(15):
        for name in ("shared", *names):
            assert (
                registry.find(REPOSITORY, f"{name}-{number}")
                == image_of(f"{name} {number}".encode()).digest
            )
    assert (
        len(json.loads((tmp_path / REPOSITORY / "index.json").read_bytes())["manifests"]) == 15 * 4
    )


def test_a_disk_that_is_really_full_is_named_and_left_clean(tmp_path: Path) -> None:
    mounted = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o size=1m none "$1" && exec "$2" -c "$3" "$1/images"',
    ]
    if (
        subprocess.run(
            [*mounted, "sh", str(tmp_path), "true", ""],
            check=False,
            capture_output=True,
            timeout=30,
        ).returncode
        != 0
    ):
        pytest.skip("a small file system of its own needs the right to mount (root)")
    run = subprocess.run(
        [*mounted, "sh", str(tmp_path), sys.executable, REFUSED],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    said, left = run.stdout.splitlines()
    assert said.startswith(
        f"ImageFolderFull cannot write an image to {tmp_path}/images/{REPOSITORY}:"
        " No space left on device. Free space"
    )
    assert left == "[]"


def test_a_folder_of_another_user_is_named_with_what_to_do(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root may become another user")
    run = subprocess.run(
        [sys.executable, "-c", REFUSED, str(tmp_path), "65534"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    said = run.stdout.splitlines()[0]
    assert said.startswith(
        f"ImageFolderUnwritable cannot write an image to {tmp_path}/{REPOSITORY}: Permission denied"
    )
    assert said.endswith("Give this user write access, or set PROMOTE_IMAGES to another folder.")
