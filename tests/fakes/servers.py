"""Servers in memory: tests say when they are ready, crash, or cannot start."""

from __future__ import annotations

from dataclasses import dataclass, field

from infra.local.cluster.desired import Workload
from infra.local.cluster.images import ImageUnusable


@dataclass
class FakeServer:
    """Ready when told so; ends at once when asked, unless it is stubborn."""

    workload: Workload
    url: str
    ready: bool = False
    running: bool = True
    stubborn: bool = False
    words: str = "starting"
    asked_to_end: bool = False

    def is_running(self) -> bool:
        return self.running

    def is_ready(self) -> bool:
        return self.running and self.ready

    def last_words(self) -> str:
        return self.words

    def end(self) -> None:
        self.asked_to_end = True
        self.running = self.running and self.stubborn

    def kill(self) -> None:
        self.running = False

    def crash(self, words: str) -> None:
        self.running, self.words = False, words


@dataclass
class FakeStarter:
    """Starts fake servers and remembers them; versions in `unusable` cannot be had."""

    started: list[FakeServer] = field(default_factory=list)
    ready_at_once: bool = False
    unusable: set[int] = field(default_factory=set)

    def start(self, workload: Workload) -> FakeServer:
        if workload.release.version in self.unusable:
            raise ImageUnusable("the model layer is damaged")
        self.started.append(
            FakeServer(
                workload, f"http://127.0.0.1:{40000 + len(self.started)}", ready=self.ready_at_once
            )
        )
        return self.started[-1]
