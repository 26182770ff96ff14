"""The command `retrain run`, its exit codes, and the task that runs it beside Airflow."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

RETRAIN = (
    'exec retrain run "$RATCHET_MODEL" --end "$RATCHET_WINDOW_END" --reason "$RATCHET_REASON"'
    ' --outcome "$RATCHET_OUTCOME"'
)
UNCHANGED = 99
FINAL = {
    1: "it failed, and trying again will not help",
    2: "it was asked wrongly, or the model's file has a mistake",
    126: "the command cannot be started",
    127: "there is no command `retrain`",
}
"""Exit codes that another try does not change. Others are tried again: 75, a killed process."""


class RetrainHere(BashOperator):
    """Runs the command beside Airflow.

    The outcome comes in a file, so that no line of the command's output can break it.
    """

    def execute(self, context: Any) -> dict[str, Any]:
        """Return the outcome of `retrain run`."""
        with TemporaryDirectory(prefix="retrain-") as folder:
            outcome = Path(folder) / "outcome.json"
            self.env = {**(self.env or {}), "RATCHET_OUTCOME": str(outcome)}
            try:
                super().execute(context)
            except AirflowSkipException:
                raise
            except AirflowException as error:
                process = self.subprocess_hook.sub_process
                raise failure(process.returncode if process else None, error) from error
            retrained: dict[str, Any] = json.loads(outcome.read_text(encoding="utf-8"))
            return retrained


def failure(exit_code: int | None, error: AirflowException) -> AirflowException:
    """Return the exception for an exit code.

    It fails the task at once when another try would end alike. Else it is the error itself.
    """
    if exit_code not in FINAL:
        return error
    return AirflowFailException(
        f"`retrain run` ended with {exit_code}: {FINAL[exit_code]}. Its log says why. {error}"
    )
