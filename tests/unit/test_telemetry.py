"""No library of ours reports to its maker.

onnxruntime does so from 1.29 on, unless it runs in CI. So these tests run it as if outside CI.
`tests/e2e/test_demo.py` shows the same for all programs together.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNSET = ("CI", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS")


def left_in_cache(tmp_path: Path, code: str) -> list[Path]:
    """Run code in a fresh Python and return what it wrote into the user's cache."""
    cache = tmp_path / "cache"
    env = {name: value for name, value in os.environ.items() if name not in UNSET}
    env |= {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache), "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, cwd=tmp_path, timeout=120)
    return [path for path in cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "module",
    ["retrain.model.program", "serving.model", "promote.evidence.scoring"],
)
def test_onnxruntime_keeps_no_telemetry_where_we_load_it(tmp_path: Path, module: str) -> None:
    assert left_in_cache(tmp_path, f"import {module}") == []


def test_onnxruntime_by_itself_does_keep_some_or_the_test_above_proves_nothing(
    tmp_path: Path,
) -> None:
    assert left_in_cache(tmp_path, "import onnxruntime") != []
