"""`retrain plan`: what a run would do, without doing any of it."""

from __future__ import annotations

from retrain.commands.terminal import errors_as_exit_codes, window_end
from retrain.plan import plan_run
from retrain.settings import read_settings
from retrain.spec.files import load_model


def print_plan(model: str, end: str, *, as_json: bool) -> None:
    """Print the plan of a window; the arguments are those of the command line."""
    with errors_as_exit_codes():
        moment = window_end(end)
        settings = read_settings()
        planned = plan_run(load_model(settings.models, model), moment, settings.snapshots)
        print(planned.model_dump_json() if as_json else planned.as_text())
