"""The wheel, installed apart from this checkout, with this environment's libraries."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


def run(*words: str | Path, cwd: Path) -> str:
    """Return what a program prints that must end well and must not see this checkout."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(word) for word in words]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def installed_wheel(place: Path) -> Path:
    """Build and install the wheel in `place`; return the folder of its programs."""
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
