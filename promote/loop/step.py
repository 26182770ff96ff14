"""The next step for a model: its state, one act, and who is waited for. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from promote.contract import State, WaitsFor
from promote.loop.observation import ProposedPull

Act = Literal[
    "wait",
    "set champion",
    "announce",
    "record success",
    "record failure",
    "open revert",
    "close",
    "flag",
    "label",
    "gate",
    "drop challenger",
    "judge",
    "build",
    "branch",
    "open",
]
"""`wait` does nothing. Every other act has one commit point, which the next look sees."""


@dataclass(frozen=True)
class Step:
    """What to do next, and why."""

    state: State
    act: Act
    waits_for: WaitsFor | None
    """None when nothing is left to do."""
    reason: str
    since: datetime | None = None
    pulls: tuple[ProposedPull, ...] = ()
    """The pull requests that the act is about."""


def step_about(
    pulls: Sequence[ProposedPull],
    state: State,
    act: Act,
    reason: str,
    waits_for: WaitsFor | None = "promote",
) -> Step | None:
    """Return a step about pull requests, dated by the oldest; None without pull requests.

    Args:
        pulls: Those that the state is about.
        state: Its name.
        act: What to do with the pull requests.
        reason: A sentence in which `{}` stands for their numbers.
        waits_for: Who acts next.
    """
    if not pulls:
        return None
    since = min(one.pull.created_at for one in pulls)
    return Step(state, act, waits_for, reason.format(numbers(pulls)), since, tuple(pulls))


def numbers(pulls: Sequence[ProposedPull]) -> str:
    """Return pull requests' numbers as people write them: `#4, #6`."""
    return ", ".join(f"#{one.pull.number}" for one in pulls)
