"""The command `retrain run`, its exit codes, and the task that runs it beside Airflow."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from ratchet_tasks.model_files import MODELS, packed

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
            given = self.env or {}
            files = handed_over(given["RATCHET_MODEL"], context)
            self.env = {**given, **files, "RATCHET_OUTCOME": str(outcome)}
            try:
                super().execute(context)
            except AirflowSkipException:
                raise
            except AirflowException as error:
                process = self.subprocess_hook.sub_process
                raise failure(process.returncode if process else None, error) from error
            retrained: dict[str, Any] = json.loads(outcome.read_text(encoding="utf-8"))
            return retrained


def handed_over(model: str, context: Any) -> dict[str, str]:
    """Return the variables that hand a model over to `retrain run`.

    Airflow's bundle names the commit of the run. Without a bundle of git the retraining's own
    setting names the commit.
    """
    try:
        variables = {"RETRAIN_MODEL_FILES": packed(MODELS, model)}
    except ValueError as error:
        raise AirflowFailException(str(error)) from error
    instance = context.get("ti")
    commit = getattr(getattr(instance, "bundle_instance", None), "version", None)
    return variables | ({"RETRAIN_GIT_REVISION": commit} if commit else {})


def failure(exit_code: int | None, error: AirflowException) -> AirflowException:
    """Return the exception for an exit code.

    It fails the task at once when another try would end alike. Else it is the error itself.
    """
    if exit_code not in FINAL:
        return error
    return AirflowFailException(
        f"`retrain run` ended with {exit_code}: {FINAL[exit_code]}. Its log says why. {error}"
    )
