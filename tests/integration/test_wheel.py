"""The wheel has all that its commands need: here it is installed apart from this checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from retrain.commands.init import template

ROOT = Path(__file__).parents[2]
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


def run(*words: str | Path, cwd: Path) -> str:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(word) for word in words]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel and this environment's libraries."""
    place = tmp_path_factory.mktemp("wheel")
    listed = run("git", "ls-files", "-z", "-co", "--exclude-standard", cwd=ROOT).split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (place / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, place / "source" / name)
    run(sys.executable, "-c", BUILD, place, cwd=place / "source")
    run(sys.executable, "-m", "venv", "--without-pip", place / "venv", cwd=place)
    python = place / "venv/bin/python"
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = Path(run(python, "-c", asked, cwd=place).strip())
    # Python adds the folder after `own`, and does not follow the .pth of our editable checkout
    (own / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    [wheel] = place.glob("*.whl")
    uv = ROOT / ".uv/bin/uv"
    run(uv, "pip", "install", "--offline", "--no-deps", "--python", python, wheel, cwd=place)
    return place / "venv/bin"


def test_retrain_init_of_the_wheel_writes_what_the_checkouts_does(
    installed: Path, tmp_path: Path
) -> None:
    where = "import retrain; print(retrain.__file__)"
    assert str(ROOT) not in run(installed / "python", "-c", where, cwd=tmp_path)
    run(installed / "retrain", "init", "mine", cwd=tmp_path)
    found = {
        str(path.relative_to(tmp_path / "mine")): path.read_bytes()
        for path in (tmp_path / "mine").rglob("*")
        if path.is_file()
    }
    assert found == template()


@pytest.mark.parametrize("command", ["retrain", "promote"])
def test_each_command_of_the_wheel_starts(installed: Path, tmp_path: Path, command: str) -> None:
    assert run(installed / command, "--version", cwd=tmp_path).startswith("ratchet ")
    assert "--help" in run(installed / command, "--help", cwd=tmp_path)
