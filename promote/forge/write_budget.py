"""How many REST writes promote may still ask for in an hour."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from promote.errors import ForgeUnavailable


class WriteBudget:
    """The writes of the last hour, and their limit."""

    def __init__(self, per_hour: int, clock: Callable[[], float]) -> None:
        """Begin with no writes.

        Args:
            per_hour: 0 means no limit.
            clock: Seconds, monotonic.
        """
        self._per_hour, self._clock = per_hour, clock
        self._times: deque[float] = deque()

    def spend(self, what: str) -> None:
        """Count one write.

        Raises:
            ForgeUnavailable: The hour's writes are used up.
        """
        self.check(what)
        self._times.append(self._clock())

    def check(self, what: str, *, count: int = 1, share: float = 1.0) -> None:
        """Refuse `count` writes that would use more than a share of the hour's writes.

        Raises:
            ForgeUnavailable: There were too many writes. The message says when to try again.
        """
        hour_ago = self._clock() - 3600
        while self._times and self._times[0] <= hour_ago:
            self._times.popleft()
        writes = len(self._times)
        if self._per_hour and writes and writes + count > share * self._per_hour:
            raise ForgeUnavailable(
                f"Did not ask the forge {what}: promote wrote {writes} times in the last hour, and "
                f"may write {self._per_hour} times. "
                f"Promote tries again in {self._times[0] - hour_ago:.0f} s."
            )
