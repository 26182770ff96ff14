"""The release that served last, kept over a restart.

Kubernetes would still run this release, so a bad newer one does not replace it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from infra.local.cluster.desired import Workload

WORKLOADS = TypeAdapter(dict[str, Workload])


class Memory:
    """A small file; one that cannot be read is forgotten."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = self._read()

    def served(self, model: str) -> Workload | None:
        """What served when the cluster last ran."""
        return self._kept.get(model)

    def keep(self, serving: Mapping[str, Workload]) -> None:
        """Remember what serves. A model without a server keeps its last release."""
        kept = {**self._kept, **serving}
        if kept != self._kept:
            self._kept = kept
            write_whole(self._path, WORKLOADS.dump_json(kept))

    def _read(self) -> dict[str, Workload]:
        try:
            return WORKLOADS.validate_json(self._path.read_bytes())
        except (OSError, ValidationError):
            return {}


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old bytes or the new ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(content)
    beside.replace(path)
