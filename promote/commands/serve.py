"""`promote serve`: the loop over all models, and its HTTP interface."""

from __future__ import annotations

import uvicorn

from promote import wiring
from promote.commands.terminal import errors_as_exit_codes, log_to_stderr
from promote.evidence.judging import EvidenceJudge
from promote.loop.policy import is_model
from promote.loop.reconciler import Reconciler
from promote.settings import read_service_settings
from promote.web.app import Loop, create_app


@errors_as_exit_codes()
def run() -> None:
    """Serve until the process is ended."""
    settings = read_service_settings()
    log_to_stderr()
    parts = wiring.open_parts(settings)
    parts_of_requests = wiring.open_parts(settings)  # the loop's clients stay in the loop's thread
    reconciler = Reconciler(parts, EvidenceJudge(parts.registry))
    loop = Loop(
        reconciler,
        reconciler.observer.start_pass,
        is_model=lambda model: is_model(parts_of_requests.forge, parts_of_requests.registry, model),
        environment=settings.environment,
        interval_seconds=settings.interval_seconds,
    )
    uvicorn.run(
        create_app(loop, webhook_secret=settings.webhook_secret.get_secret_value()),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
    )
