"""One run of the reconciler in a process of its own, which a test may kill at a write.

Forge, MLflow and image folder are real.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Any

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
    send, count = requests.adapters.HTTPAdapter.send, 0

    def counted(self: Any, request: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal count
        writes = request.method in WRITES
        count += writes
        dies = writes and count == told.dies_at
        if dies and not told.answer_lost:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = send(self, request, *arguments, **named)
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    requests.adapters.HTTPAdapter.send = counted  # type: ignore[method-assign]  # both PyGithub and MLflow speak through it
    parts = open_parts(PromoteSettings(**told.settings))
    if told.rollback:
        roll_back(parts.forge, parts.environment, told.model, reason="a bad day")
    else:
        Reconciler(parts, ToldJudge()).reconcile(told.model)
