"""The base of all images, built from Debian packages: Python and the libraries that numpy needs.

The base has no pip, compiler or package manager.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from infra.images.programs import run, said

SUITE = "bookworm"
PYTHON = "3.11"
"""The Python of Debian bookworm. Wheels are fetched for this version."""
PACKAGES = ("usr-is-merged", "python3", "ca-certificates", "libstdc++6", "libgomp1")
"""`usr-is-merged` links /bin to /usr/bin at once. The later conversion needs Perl (50 MB)."""
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
_DOCKERFILE = "FROM scratch\nADD base.tar /\n"


def base_image() -> str:
    """Return the local name of the base; build the base when this machine lacks it.

    Raises:
        ProgramFailed: mmdebstrap or buildah is missing, or failed.
    """
    name = f"localhost/ratchet/base:{SUITE}-{_recipe_digest()}"
    if said("buildah", "images", "--quiet", "--filter", f"reference={name}"):
        return name
    folder = _cache() / f"base-{_recipe_digest()}"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "base.tar").exists():
        _make(folder / "base.tar")
    (folder / "Dockerfile").write_text(_DOCKERFILE)
    run(
        "buildah",
        "bud",
        "--quiet",
        "--isolation",
        "chroot",
        "--layers=false",
        "--timestamp",
        "0",
        "--tag",
        name,
        str(folder),
    )
    return name


def _make(tar: Path) -> None:
    partial = tar.with_name("partial.tar")  # mmdebstrap reads the format from the ending
    without = [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
    merged = "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"
    run(
        "mmdebstrap",
        "--quiet",
        "--variant=essential",
        merged,
        f"--include={','.join(PACKAGES)}",
        *without,
        SUITE,
        str(partial),
    )
    partial.rename(tar)


def _recipe_digest() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]


def _cache() -> Path:
    """Return the cache folder, shared with the laptop's Kubernetes (kubernetes/build.py)."""
    if chosen := os.environ.get("RATCHET_CACHE"):
        return Path(chosen).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ratchet"
