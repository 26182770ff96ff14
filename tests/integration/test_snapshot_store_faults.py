"""The folder of partitions on a full disk: whole files stay, no part of a file does.

The error says what to do.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WRITES = """
import sys
from pathlib import Path
import numpy as np
import pyarrow as pa
from retrain.errors import StoreUnavailable
from retrain.snapshot.partitions import read_partition
from retrain.snapshot.store import PartitionStore
store, random = PartitionStore(Path(sys.argv[1])), np.random.default_rng(7)
keys = np.arange(200_000)
rows = [pa.table({"row_key": keys, "number": random.random(200_000)}) for _ in range(2)]
kept = store.write("2013-W27", rows[0])
try:
    store.write("2013-W28", rows[1])
except StoreUnavailable as error:
    print(error)
assert read_partition(kept).equals(rows[0])
files = [path for path in Path(sys.argv[1]).rglob("*") if path.is_file()]
print(sorted(path.name == kept.uri.rpartition("/")[2] for path in files))
"""


def test_a_full_disk_is_named_keeps_what_was_whole_and_holds_nothing_else(tmp_path: Path) -> None:
    # there is room for one of the two files, and not for a copy of it
    mounted = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o size=5m none "$1" && exec "$2" -c "$3" "$1/snapshots"',
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
        [*mounted, "sh", str(tmp_path), sys.executable, WRITES],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert run.returncode == 0, run.stderr
    said, left = run.stdout.splitlines()
    assert said.startswith(f"{tmp_path}/snapshots/partitions/2013-W28/")
    assert "No space left on device" in said
    assert "nothing was left under that name. Make room" in said
    assert left == "[True]"
