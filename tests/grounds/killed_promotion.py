"""One run of the reconciler in a process of its own, which a test may kill at a write.

Forge, MLflow and image folder are real.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pygit2
import requests.adapters

from promote.loop.reconciler import Reconciler
from promote.loop.way_back import roll_back
from promote.settings import PromoteSettings
from promote.wiring import open_parts
from tests.fakes.promotion_world import ToldJudge

WRITES = {"POST", "PUT", "PATCH", "DELETE"}


@dataclass(frozen=True)
class Run:
    """What to do, and when to die: after or before the n-th writing request, never if None."""

    settings: dict[str, Any]
    model: str
    rollback: bool = False
    dies_at: int | None = None
    answer_lost: bool = True
    """True: the write is done and its answer lost; False: it is never sent."""


def run(told: Run) -> None:
    """Reconcile once, or roll back; in a fresh process."""
    send, push, count = requests.adapters.HTTPAdapter.send, pygit2.remotes.Remote.push, 0

    def write(do: Callable[[], Any]) -> Any:
        nonlocal count
        count += 1
        if count == told.dies_at and not told.answer_lost:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = do()
        if count == told.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    def counted_send(self: Any, request: Any, *arguments: Any, **named: Any) -> Any:
        do = partial(send, self, request, *arguments, **named)
        return write(do) if request.method in WRITES else do()

    def counted_push(self: Any, *arguments: Any, **named: Any) -> Any:
        return write(partial(push, self, *arguments, **named))

    requests.adapters.HTTPAdapter.send = counted_send  # type: ignore[method-assign]  # both PyGithub and MLflow speak through it
    pygit2.remotes.Remote.push = counted_push  # type: ignore[method-assign]  # branches are pushed
    parts = open_parts(PromoteSettings(**told.settings))
    if told.rollback:
        roll_back(parts.forge, parts.environment, told.model, reason="a bad day")
    else:
        Reconciler(parts, ToldJudge()).reconcile(told.model)
