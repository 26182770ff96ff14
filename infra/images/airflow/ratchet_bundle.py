"""Airflow's DAGs: our DAG files with the model files of a mirror of git. In Airflow's image.

`promote mirror` keeps the mirror, so no Airflow program holds a credential or asks the forge. A DAG
run keeps its commit: its tasks read the files of that commit, also after main has moved.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import pygit2
from airflow.dag_processing.bundles.base import (
    BaseDagBundle,
    BundleVersion,
    get_bundle_tracking_file,
)
from airflow.exceptions import AirflowException

DAG_FILES = (".airflowignore", "retrain_dags.py", "ratchet_tasks")
UNUSED_SECONDS = 24 * 60 * 60
"""A commit's files are removed when no task has used them for so long. They can be read again."""


class MirrorBundle(BaseDagBundle):
    """DAG files of this machine beside `dags/models` of a branch of a bare repository."""

    supports_versioning = True

    def __init__(self, *, mirror: str, code: str, branch: str = "main", **usual: Any) -> None:
        """Keep where the mirror lies; nothing is read yet.

        Args:
            mirror: The bare repository's folder.
            code: The folder with the DAG files.
            branch: The branch whose commits are the bundle's versions.
            usual: Airflow's own arguments: name, version, refresh_interval.
        """
        super().__init__(**usual)
        self._mirror, self._code, self._branch = mirror, Path(code), branch
        self._commit = ""

    @property
    def path(self) -> Path:
        """The DAG files with the model files of the commit."""
        return Path(self.versions_dir, self._commit)

    def initialize(self) -> None:
        """Lay out the files of the run's commit, or of the branch's newest one."""
        self._lay_out(self.version or self._newest())
        super().initialize()

    def refresh(self) -> None:
        """Go on to the branch's newest commit."""
        if self.version:
            raise AirflowException(f"The version {self.version} of {self.name} never changes")
        newest = self._newest()
        if newest != self._commit:
            self._lay_out(newest)
            self._remove_unused()

    def get_current_version(self) -> BundleVersion:
        """Return the commit."""
        return BundleVersion(version=self._commit or self.version or self._newest())

    def _repository(self) -> pygit2.Repository:
        try:
            return pygit2.Repository(self._mirror)
        except pygit2.GitError as error:
            raise AirflowException(
                f"There is no mirror at {self._mirror}; start `promote mirror {self._mirror}`"
            ) from error

    def _newest(self) -> str:
        reference = self._repository().references.get(f"refs/heads/{self._branch}")
        if reference is None:
            raise AirflowException(f"The mirror {self._mirror} has no branch {self._branch}")
        return str(reference.target)

    def _lay_out(self, commit: str) -> None:
        with self.lock():
            place = self.versions_dir / commit
            if not place.exists():
                self.versions_dir.mkdir(parents=True, exist_ok=True)
                partial = Path(tempfile.mkdtemp(dir=self.versions_dir, prefix=".partial-"))
                partial.chmod(0o755)
                self._write_files(commit, partial)
                partial.rename(place)
            os.utime(place)
        self._commit = commit

    def _write_files(self, commit: str, folder: Path) -> None:
        for name in DAG_FILES:
            copy = shutil.copytree if (self._code / name).is_dir() else shutil.copy
            copy(self._code / name, folder / name)
        try:
            models = self._repository()[commit].peel(pygit2.Tree)["dags/models"]
        except (KeyError, ValueError) as error:
            raise AirflowException(
                f"The mirror {self._mirror} has no dags/models in the commit {commit}"
            ) from error
        _write_tree(models, folder / "models")

    def _remove_unused(self) -> None:
        with self.lock():
            for place in self.versions_dir.iterdir():
                is_tracked = get_bundle_tracking_file(self.name, place.name).exists()
                age_seconds = time.time() - place.stat().st_mtime
                if place.name != self._commit and not is_tracked and age_seconds > UNUSED_SECONDS:
                    shutil.rmtree(place, ignore_errors=True)


def _write_tree(tree: Any, folder: Path) -> None:
    """Write the plain files of a tree; links are left out."""
    folder.mkdir(parents=True)
    for entry in tree:
        if isinstance(entry, pygit2.Tree):
            _write_tree(entry, folder / entry.name)
        elif entry.filemode in {pygit2.enums.FileMode.BLOB, pygit2.enums.FileMode.BLOB_EXECUTABLE}:
            (folder / entry.name).write_bytes(entry.data)
