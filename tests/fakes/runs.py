"""MLflow's runs and versions of one model in memory. It can go down, or kill its caller.

`tests/conformance/test_runs.py` runs on this fake and on a real MLflow.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from retrain.contract import Snapshot
from retrain.errors import TrackingUnavailable
from retrain.runs.port import REQUIRED_TAGS, FinishedRun, Record, RegisteredVersion, Rows


class Killed(BaseException):
    """The process ends here, as by kill -9."""


class FakeRuns:
    """`retrain.runs.port.Runs`, in memory."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, Record, Sequence[Record], dict[str, bytes]]] = []
        self.versions: list[RegisteredVersion] = []
        self.challenger: int | None = None
        self.champion: str | None = None
        self.is_down = False
        self.killed_before = ""
        """The name of the act before which the process is killed, once."""

    def check(self) -> None:
        self._act("check")

    def champion_technique(self) -> str | None:
        self._act("champion_technique")
        return self.champion

    def finished_run(self, identity: str) -> FinishedRun | None:
        self._act("finished_run")
        found = (
            (run_id, one.tags)
            for run_id, one, *_ in self.runs
            if one.tags["run_identity"] == identity
        )
        complete = (
            FinishedRun(run_id, tags["technique"], tags["model_digest"])
            for run_id, tags in found
            if tags.keys() >= REQUIRED_TAGS
        )
        return next(complete, None)

    def last_snapshot(self, plan_digest: str) -> tuple[RegisteredVersion, Snapshot] | None:
        self._act("last_snapshot")
        records = {run_id: (record, files) for run_id, record, _, files in self.runs}
        for version in reversed(self.versions):
            record, files = records[version.run_id]
            if record.tags["plan_digest"] == plan_digest:
                return _with_snapshot(version, files.get("snapshot.json"))
        return None

    def registered(self, run_id: str) -> RegisteredVersion | None:
        self._act("registered")
        return next((version for version in self.versions if version.run_id == run_id), None)

    def record(
        self, parent: Record, children: Sequence[Record], rows: Sequence[Rows], folder: Path
    ) -> str:
        self._act("record")
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        run_id = f"run{len(self.runs) + 1}"
        self.runs.append((run_id, parent, children, files))
        return run_id

    def register(self, run_id: str, *, title: str) -> RegisteredVersion:
        self._act("register")
        version = next((one for one in self.versions if one.run_id == run_id), None)
        if version is None:
            version = RegisteredVersion(len(self.versions) + 1, run_id)
            self.versions.append(version)
        if version == self.versions[-1]:
            self.challenger = version.version
        return version

    def _act(self, name: str) -> None:
        if self.is_down:
            raise TrackingUnavailable("MLflow does not answer")
        if name == self.killed_before:
            self.killed_before = ""
            raise Killed(name)


def _with_snapshot(
    version: RegisteredVersion, content: bytes | None
) -> tuple[RegisteredVersion, Snapshot] | None:
    if content is None:
        return None
    try:
        return version, Snapshot.model_validate_json(content)
    except ValidationError:
        return None
