"""What the demo did, as `summary.json`: the last thing it writes, also when a step failed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from infra.local.stack.terminal import say


@dataclass
class Week:
    """One weekly run as it ended; figures are None when nothing was compared."""

    window_end: str
    verdict: str
    kind: str | None = None
    metric: str | None = None
    improvement: float | None = None
    lower: float | None = None
    upper: float | None = None
    version: int | None = None
    image_digest: str | None = None
    pull_request: int | None = None


@dataclass
class Summary:
    """Collected while the story goes on."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    weeks: list[Week] = field(default_factory=list)
    requests: dict[str, Any] = field(
        default_factory=lambda: {"sent": 0, "failed": 0, "by_version": {}}
    )
    seconds: dict[str, Any] = field(
        default_factory=lambda: {
            "challenger_to_pull_request": [],
            "merge_to_first_answer": [],
            "total": 0.0,
        }
    )
    served_at: list[dict[str, Any]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Announce a step, time it, and keep how it ended."""
        began = time.monotonic()
        say(f"\n{len(self.steps) + 1}. {name}")
        entry = {"name": name, "seconds": 0.0, "outcome": "failed"}
        self.steps.append(entry)
        try:
            yield
            entry["outcome"] = "ok"
        finally:
            entry["seconds"] = round(time.monotonic() - began, 1)
            say(f"   ({entry['outcome']}, {entry['seconds']} s)")

    def write(self, path: Path) -> None:
        """Write the file as a whole or not at all."""
        self.seconds["total"] = round(time.monotonic() - self.started, 1)
        content = {key: value for key, value in asdict(self).items() if key != "started"}
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(path)
        print(f"\nsummary: {path}", file=sys.stderr)
