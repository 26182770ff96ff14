"""What a later start on the same folder uses again: ports, tokens, keys."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.processes import free_port, is_free


@dataclass(frozen=True)
class Memory:
    """A JSON file that only its owner can read."""

    path: Path

    def port(self, name: str) -> int:
        """Return the port of the last start, or a free port when another program has that port."""
        kept = self._read().get(f"{name}_port")
        if isinstance(kept, int) and is_free(kept):
            return kept
        return int(self._keep(f"{name}_port", free_port()))

    def secret(self, name: str) -> str:
        """Return the secret of this name, made on the first call."""
        return str(self._read().get(name) or self._keep(name, secrets.token_urlsafe(16)))

    def _read(self) -> dict[str, Any]:
        return dict(json.loads(self.path.read_text())) if self.path.exists() else {}

    def _keep(self, name: str, value: int | str) -> int | str:
        unfinished = self.path.with_suffix(".tmp")
        unfinished.touch(mode=0o600)
        unfinished.write_text(json.dumps({**self._read(), name: value}), encoding="utf-8")
        unfinished.replace(self.path)
        return value
