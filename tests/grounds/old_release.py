"""Reads a folder of `releases/`: what one released commit left in MLflow, git, store and server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promote.contract import Release, Slot
from promote.release.manifest import parse
from promote.release.slot import release_path
from retrain.contract import Snapshot, digest_of_bytes
from retrain.spec.model_file import ModelSpec, parse_spec

RELEASES = Path(__file__).parent / "releases"
MODEL = "late-parcel"
STORE = b"file:///store"
"""Stands in the files where the address of the store stood."""


@dataclass(frozen=True)
class OldRelease:
    """One release of the model `late-parcel`, as the code of that time wrote it."""

    folder: Path

    @property
    def release_yaml(self) -> bytes:
        """The bytes on main."""
        return self.main[release_path(Slot(MODEL, "production"))]

    @property
    def release(self) -> Release:
        """What main names."""
        return parse(self.release_yaml, MODEL)

    @property
    def main(self) -> dict[str, bytes]:
        """The files of the repository's main, by path."""
        root = self.folder / "main"
        files = [path for path in root.rglob("*") if path.is_file()]
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}

    @property
    def proposed(self) -> dict[str, bytes]:
        """The files that the first pull request added to main."""
        return {path: content for path, content in self.main.items() if path.startswith("gitops/")}

    @property
    def spec(self) -> ModelSpec:
        """The model file on main."""
        text = self.main[f"dags/models/{MODEL}.yaml"].decode()
        query = self.main[f"dags/models/{MODEL}.sql"].decode()
        return parse_spec(text, path=f"{MODEL}.yaml", query_text=query)

    @property
    def model_folder(self) -> dict[str, bytes]:
        """The artifacts of the version."""
        return {path.name: path.read_bytes() for path in (self.folder / "model").iterdir()}

    @property
    def tags(self) -> dict[str, str]:
        """The version's in the model registry, the verdict's among them."""
        return dict(self.json("version.json")["tags"])

    @property
    def snapshot_json(self) -> bytes:
        """The run's snapshot; its partitions lie in this folder."""
        return self._moved((self.folder / "snapshot.json").read_bytes(), self.folder / "store")

    @property
    def snapshot(self) -> Snapshot:
        """The same as a value."""
        return Snapshot.model_validate_json(self.snapshot_json)

    def copy_store(self, place: Path) -> Path:
        """Copy the store of partitions, as if it had always been at `place`; return `place`."""
        root = self.folder / "store"
        for path in (file for file in root.rglob("*") if file.is_file()):
            content = path.read_bytes()
            if path.suffix == ".json":  # an entry of the index begins with the digest of the rest
                entry = self._moved(content.partition(b"\n")[2], place)
                content = digest_of_bytes(entry).encode() + b"\n" + entry
            copy = place / path.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
        return place

    def json(self, name: str) -> Any:
        """What a JSON file of the folder says."""
        return json.loads((self.folder / name).read_text())

    @staticmethod
    def _moved(content: bytes, place: Path) -> bytes:
        return content.replace(STORE, place.resolve().as_uri().encode())


def old_releases() -> list[OldRelease]:
    """Return every release that is kept."""
    return [OldRelease(path.parent) for path in sorted(RELEASES.glob("*/version.json"))]
