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
    """What every ending of one window's run has in common."""

    model: str
    window_end: datetime
    snapshot_id: str
    started: float
    """By the monotonic clock."""
    notes: tuple[str, ...]
    """About the window, for every ending."""

    def outcome(
        self,
        outcome: Outcome,
        version: RegisteredVersion | None,
        run: FinishedRun | None,
        *notes: str,
    ) -> RunOutcome:
        """Return the outcome of this window's run.

        Args:
            outcome: How the run ended.
            version: Of the run's model, or of the last run when no row changed.
            run: None when no row changed.
            notes: For people.
        """
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
