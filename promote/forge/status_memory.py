"""Statuses that cannot change any more, kept in a file beside the mirror. The file may be lost."""

from __future__ import annotations

import contextlib
import os
from collections import UserDict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from promote.forge.port import Status

_STATUSES = TypeAdapter(dict[str, Status])


class StatusMemory(UserDict[str, Status]):
    """Final statuses by `context commit`. A process that starts with the file asks for few."""

    def __init__(self, path: Path | None = None) -> None:
        """Read the file; a damaged file is no file. Without a path nothing is kept."""
        super().__init__()
        self._path, self._saved = path, 0
        with contextlib.suppress(OSError, ValidationError):
            self.data = _STATUSES.validate_json(path.read_bytes()) if path else {}
        self._saved = len(self.data)

    def save(self) -> None:
        """Write the file if there is something new, whole or not at all."""
        if self._path is None or len(self.data) == self._saved:
            return
        new = self._path.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):  # the next process asks again
            new.write_bytes(_STATUSES.dump_json(self.data))
            new.replace(self._path)
            self._saved = len(self.data)
