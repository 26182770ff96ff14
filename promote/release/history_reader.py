"""Reads which releases main named and how their rollouts ended: from a forge alone.

Who served when is known even while MLflow and the cluster are away.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import replace
from functools import lru_cache

from promote.contract import Release, Slot
from promote.errors import InvalidRelease
from promote.forge.port import Forge, Status
from promote.release.history import ROLLOUT_CONTEXT, History, ReleaseCommit, return_target
from promote.release.manifest import parse
from promote.release.slot import release_path


class HistoryReader:
    """Asks for few statuses, and never again for one that cannot change.

    Final are a success, and a failure of a release that main no longer names.
    """

    def __init__(
        self, forge: Forge, environment: str, memory: MutableMapping[str, Status] | None = None
    ) -> None:
        """Keep what to ask, and where final statuses are kept by `context commit`."""
        self._forge, self._environment = forge, environment
        self._memory = {} if memory is None else memory

    def read(self, model: str, main: str, *, is_complete: bool = False) -> History:
        """Return the releases that main named, newest first, with their rollouts' statuses.

        Statuses are read from the newest commit back to the release that served, or that a way
        back would return to. They are also read for older commits with the newest one's bytes.

        Args:
            model: Its name.
            main: A commit of main.
            is_complete: Read all statuses: to find who served in the past.
        """
        versions = self._forge.history(release_path(Slot(model, self._environment)), main)
        history = [
            ReleaseCommit(one.commit, one.at, one.content, read_release(one.content, model))
            for one in versions
        ]
        for place, commit in enumerate(history):
            is_same = commit.content == history[0].content and not history[0].served
            is_enough = not is_complete and _is_enough(tuple(history))
            if is_enough and not is_same and self._key(commit) not in self._memory:
                continue
            status = self._status(commit, is_newest=not place)
            history[place] = replace(commit, rollout=status)
        return tuple(history)

    def _status(self, commit: ReleaseCommit, *, is_newest: bool) -> Status | None:
        key = self._key(commit)
        if key in self._memory:
            return self._memory[key]
        statuses = {status.context: status for status in self._forge.statuses(commit.commit)}
        status = statuses.get(ROLLOUT_CONTEXT)
        has_ended = status is not None and status.state != "pending"
        if status and has_ended and (status.state == "success" or not is_newest):
            self._memory[key] = status
        return status

    def _key(self, commit: ReleaseCommit) -> str:
        return f"{ROLLOUT_CONTEXT} {commit.commit}"


def _is_enough(history: History) -> bool:
    """True when no older status is needed: the newest serves, or a way back has a target."""
    return history[0].served or return_target(history) is not None


@lru_cache(maxsize=1 << 16)
def read_release(content: bytes | None, model: str) -> Release | None:
    """Return the release that a file names; None when there is none or it is not one."""
    try:
        return None if content is None else parse(content, model)
    except InvalidRelease:
        return None
