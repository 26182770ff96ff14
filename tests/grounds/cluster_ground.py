"""What a cluster needs around it: a git repository with gitops/, image folders, releases."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from promote.contract import Release, Slot
from promote.images.image import build_image
from promote.images.layout import LayoutRegistry
from promote.release.manifest import first_files, render
from promote.release.slot import release_path
from retrain.contract import digest_of_bytes
from tests.grounds.model_folders import make_model_folder

REPOSITORY_ROOT = Path(__file__).resolve().parents[2]
VERDICT = digest_of_bytes(b"verdict")


@dataclass
class Ground:
    """A folder with `origin` (a repository one commits to), `images` and `models`."""

    folder: Path

    @property
    def origin(self) -> Path:
        return self.folder / "origin"

    @property
    def images(self) -> Path:
        return self.folder / "images"

    def lay(self) -> Ground:
        """Begin with the gitops/ of this repository, which names no model."""
        self.origin.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")
        shutil.copytree(
            REPOSITORY_ROOT / "gitops",
            self.origin / "gitops",
            ignore=shutil.ignore_patterns("flight-delay*"),
        )
        self.commit("the ground")
        return self

    def image(self, version: int, model: str = "flight-delay") -> Release:
        """Make a model, push its image, and return the release that would name it."""
        folder = self.folder / "models" / f"{model}-{version}"
        card = make_model_folder(folder, seed=version, model=model)
        image = build_image({path.name: path.read_bytes() for path in folder.iterdir()})
        digest = LayoutRegistry(self.images).push(f"ratchet/{model}", image, tag=f"v{version}")
        return Release(
            model=model,
            version=version,
            image=f"ratchet/{model}@{digest}",
            model_digest=card.model_digest,
            verdict_digest=VERDICT,
        )

    def write_release(self, release: Release, *, replicas: int = 1) -> None:
        """Write the release and the files that the model's first pull request adds."""
        files = first_files(Slot(release.model, "production"), replicas=replicas)
        for path, content in {
            **files,
            release_path(Slot(release.model, "production")): render(release),
        }.items():
            (self.origin / path).parent.mkdir(parents=True, exist_ok=True)
            (self.origin / path).write_bytes(content)

    def release(self, release: Release) -> str:
        """Commit a release to main and return the revision."""
        self.write_release(release)
        return self.commit(f"{release.model} v{release.version}")

    def commit(self, message: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def git(self, *arguments: str) -> str:
        author = [
            "-c",
            "user.name=test",
            "-c",
            "user.email=test@localhost",
            "-c",
            "commit.gpgsign=false",
        ]
        done = subprocess.run(
            ["git", *author, *arguments],
            cwd=self.origin,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        return done.stdout.strip()
