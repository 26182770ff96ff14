"""Reads what main named and what came of it from a forge, and from nothing else: who served when is known even while MLflow and the cluster are away."""

from __future__ import annotations

from promote.contract import Release, Slot
from promote.errors import InvalidRelease
from promote.forge.port import FileVersion, Forge, Status
from promote.release.history import ROLLOUT_CONTEXT, History, ReleaseCommit
from promote.release.manifest import parse
from promote.release.slot import release_path


class HistoryReader:
    """Remembers only what cannot change: a success, and a failure of what main named before."""

    def __init__(self, forge: Forge, environment: str) -> None:
        self._forge, self._environment = forge, environment
        self._final: dict[str, Status] = {}

    def read(self, model: str, main: str) -> History:
        """Return what main named, newest first, with what came of it."""
        versions = self._forge.history(release_path(Slot(model, self._environment)), main)
        return tuple(
            self._release_commit(model, version, is_newest=not place)
            for place, version in enumerate(versions)
        )

    def _release_commit(
        self, model: str, version: FileVersion, *, is_newest: bool
    ) -> ReleaseCommit:
        status = self._final.get(version.commit)
        if status is None:
            found = {status.context: status for status in self._forge.statuses(version.commit)}
            status = found.get(ROLLOUT_CONTEXT)
            has_ended = status is not None and status.state != "pending"
            if status and has_ended and (status.state == "success" or not is_newest):
                self._final[version.commit] = status
        return ReleaseCommit(
            version.commit,
            version.at,
            version.content,
            read_release(version.content, model),
            status,
        )


def read_release(content: bytes | None, model: str) -> Release | None:
    """Return the release that a file names; None when there is none or it is not one."""
    try:
        return None if content is None else parse(content, model)
    except InvalidRelease:
        return None
