"""How a run of a window can end, as a value and as a sentence."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime

from retrain.contract import Contract, Digest, utc_text
from retrain.runs.port import FinishedRun, RegisteredVersion

Outcome = Literal["registered", "found", "unchanged", "not_registered"]


class RunOutcome(Contract):
    """How a run of a window ended."""

    model: str
    window_end: AwareDatetime
    outcome: Outcome
    """`found`: an earlier run had this identity.

    `unchanged`: no row changed since the last registered run, so nothing was trained.
    """
    version: int | None
    run_id: str | None
    technique: str | None
    model_digest: Digest | None
    snapshot_id: Digest
    seconds: float
    notes: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The outcome, for people."""
        return _SENTENCES[self.outcome].format(**dict(self), day=utc_text(self.window_end))


_SENTENCES = {
    "registered": "{model} version {version} ({technique}) is registered as challenger"
    " for the window before {day}, after {seconds:.1f} s.",
    "found": "{model} for the window before {day} was already there: run {run_id},"
    " version {version}. Nothing was trained.",
    "unchanged": "{model}: no row of the window before {day} changed since version {version}."
    " Nothing was trained or registered.",
    "not_registered": "{model} ({technique}) for the window before {day} is in MLflow"
    " as run {run_id}, not registered, after {seconds:.1f} s.",
}


@dataclass(frozen=True)
class Ending:
    """Makes the outcome of each way that a run can end."""

    model: str
    window_end: datetime
    snapshot_id: str
    started: float
    """By the monotonic clock."""
    notes: tuple[str, ...]
    """About the window, for every ending."""

    def of_earlier(
        self, run: FinishedRun, before: RegisteredVersion | None, now: RegisteredVersion | None
    ) -> RunOutcome:
        """Return the outcome when an earlier run has the same identity.

        Args:
            run: The earlier run.
            before: The version of the earlier run, as this run met it.
            now: Its version now.
        """
        if now and not before:
            note = "an earlier attempt had trained it and was stopped before it was registered"
            return self._make("registered", now, run, note)
        return self._make("found", before, run)

    def unchanged(self, last: RegisteredVersion) -> RunOutcome:
        """Return the outcome when no row changed since the version `last`."""
        return self._make("unchanged", last, None)

    def of_new(
        self, run: FinishedRun, version: RegisteredVersion | None, notes: tuple[str, ...]
    ) -> RunOutcome:
        """Return the outcome of a run that trained."""
        return self._make("registered" if version else "not_registered", version, run, *notes)

    def _make(
        self,
        outcome: Outcome,
        version: RegisteredVersion | None,
        run: FinishedRun | None,
        *notes: str,
    ) -> RunOutcome:
        return RunOutcome(
            model=self.model,
            window_end=self.window_end,
            outcome=outcome,
            version=version.version if version else None,
            run_id=run.run_id if run else None,
            technique=run.technique if run else None,
            model_digest=run.model_digest if run else None,
            snapshot_id=self.snapshot_id,
            seconds=time.monotonic() - self.started,
            notes=(*self.notes, *notes),
        )
