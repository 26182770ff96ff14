"""The promotion service: the reconciler's loop in a thread, and what it last saw over HTTP.

Whoever waits for a verdict (Airflow's `promote` task) calls POST /nudge/{model}, then
GET /promotions/{model} until `version` is the one registered and `verdict` is set. `waits_for:
person` means that nothing happens by itself. A greater `version` means that a newer challenger took
the place.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from promote.contract import Promotion, check_model
from promote.errors import InvalidName, PromoteError, Unavailable
from promote.loop.reconciler import Reconciler
from promote.web.webhooks import is_signed, models_of

_NO_MODEL = (
    "There is no model {}: main has no model file of it, and MLflow no version. "
    "Merge the model file, or correct the name."
)

MOST_WEBHOOK_BYTES = 1 << 20
"""GitHub sends up to 25 MB. The events that promote takes have a few KB."""

log = logging.getLogger("promote")


class Loop:
    """Passes over all models in one thread. A nudge starts a pass over its models at once."""

    def __init__(
        self,
        reconciler: Reconciler,
        start_pass: Callable[[Collection[str]], list[str]],
        *,
        is_model: Callable[[str], bool],
        environment: str,
        interval_seconds: float,
    ) -> None:
        """Keep what passes need; nothing is asked yet.

        Args:
            reconciler: Does what is to be done for one model.
            start_pass: Reads everything for all models at once, and returns the models that main
                describes. It gets models beside those.
            is_model: Whether main describes a model, or MLflow has a version of it. Asked in the
                threads of requests, so it needs clients of its own.
            environment: Of this service.
            interval_seconds: Between passes when nobody nudges.
        """
        self._reconciler, self._start_pass = reconciler, start_pass
        self._interval_seconds = interval_seconds
        self._is_model, self._environment = is_model, environment
        self._wake, self._stop = threading.Event(), threading.Event()
        self._nudged: set[str] = set()
        self._known: list[str] = []
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)
        self.promotions: dict[str, Promotion] = {}
        self.problem: str | None = "the first pass has not ended yet"

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End after the act in hand; waits for it a little, since a killed act does no harm."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=5)

    @property
    def is_alive(self) -> bool:
        """True while passes are made."""
        return self._thread.is_alive()

    def nudge(self, model: str) -> bool:
        """Look at a model as soon as possible; False when there is no such model.

        Raises:
            PromoteError: Whether there is one could not be found out.
        """
        is_known = model in self.promotions or model in self._known
        if not is_known and not self._is_model(model):
            return False
        self.promotions.setdefault(model, _unseen(model, self._environment))
        self._nudged.add(model)
        self._wake.set()
        return True

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            is_due = time.monotonic() >= due
            self._wake.clear()
            self._pass(is_for_all=is_due)
            if is_due:
                due = time.monotonic() + self._interval_seconds
            self._wake.wait(max(0.0, due - time.monotonic()))

    def _pass(self, *, is_for_all: bool) -> None:
        """Look at the nudged models first, and then at all others if it is time."""
        nudged, self._nudged = self._nudged, set()
        models = {*self._known, *self.promotions, *nudged}
        try:
            self._known, self.problem = self._start_pass(models), None
        except PromoteError as error:
            self.problem = str(error)
            log.warning("state='blind' error=%s", error)
        except Exception as error:  # the edge: a defect must not end the loop's thread
            self.problem = f"the list of models: {type(error).__name__}: {error}"
            log.exception("state='defect'")
        others = {*models, *self._known} - nudged if is_for_all else set()
        for model in [*sorted(nudged), *sorted(others)]:
            if self._stop.is_set():
                break
            try:
                self._reconciler.reconcile(model, self._keep)
            except (
                Exception
            ) as error:  # the edge: one model's defect must not end the service for the others
                self.problem = f"{model}: {type(error).__name__}: {error}"
                log.exception("model=%s state='defect'", model)
        self._reconciler.observer.end_pass()

    def _keep(self, promotion: Promotion) -> None:
        before = self.promotions.get(promotion.model)
        if before is None or (before.state, before.version) != (promotion.state, promotion.version):
            log.info(
                "model=%s state=%r version=%s waits_for=%s reason=%r",
                promotion.model,
                promotion.state,
                promotion.version,
                promotion.waits_for,
                promotion.reason,
            )
        self.promotions[promotion.model] = promotion


def create_app(loop: Loop, *, webhook_secret: str = "") -> FastAPI:
    """Return the service over a loop, which lives as long as the service.

    Args:
        loop: Makes the passes.
        webhook_secret: Signs the forge's webhooks; empty: the service takes none.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loop.start()
        yield
        loop.stop()

    # FastAPI's pages load their scripts from other hosts; /openapi.json stays.
    app = FastAPI(
        title="Ratchet promotions",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        exception_handlers={
            HTTPException: _problem,
            RequestValidationError: _problem,
            PromoteError: _problem,
        },
    )

    @app.post("/nudge/{model}", status_code=202)
    def nudge(model: str) -> dict[str, str]:
        """Look at a model now instead of with the next interval."""
        if not loop.nudge(check_model(model)):
            raise HTTPException(404, _NO_MODEL.format(model))
        return {"model": model, "promotion": f"/promotions/{model}"}

    _add_webhook(app, loop, webhook_secret)

    @app.get("/promotions")
    def promotions(model: str | None = None) -> list[Promotion]:
        """Return where every model stands, or one."""
        return [
            promotion
            for name, promotion in sorted(loop.promotions.items())
            if model in {None, name}
        ]

    @app.get("/promotions/{model}")
    def promotion(model: str) -> Promotion:
        """Return where a model stands."""
        if check_model(model) not in loop.promotions:
            raise HTTPException(
                404,
                f"Promote has not seen a model {model} yet. POST /nudge/{model} makes it look. "
                f"Known: {sorted(loop.promotions)}.",
            )
        return loop.promotions[model]

    @app.get("/health")
    def health() -> JSONResponse:
        """Return 200 while passes are made, also when the last pass had a problem."""
        status = "ok" if loop.is_alive else "the loop has ended"
        return JSONResponse(
            {"status": status, "problem": loop.problem}, 200 if loop.is_alive else 503
        )

    return app


def _add_webhook(app: FastAPI, loop: Loop, secret: str) -> None:
    @app.post("/webhooks/github", status_code=202)
    async def webhook(request: Request) -> dict[str, list[str]]:
        """Look at the models that a push or a pull request names."""
        if not secret:
            raise HTTPException(404, "PROMOTE_WEBHOOK_SECRET is not set: no webhooks are taken.")
        body = await _limited_body(request)
        if not is_signed(body, request.headers.get("x-hub-signature-256", ""), secret):
            raise HTTPException(401, "The signature is not by PROMOTE_WEBHOOK_SECRET.")
        models = sorted(models_of(body))
        nudged = await run_in_threadpool(lambda: [one for one in models if loop.nudge(one)])
        return {"nudged": nudged}


async def _limited_body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_WEBHOOK_BYTES:
            raise HTTPException(
                413,
                f"The body has more than {MOST_WEBHOOK_BYTES} bytes. "
                "The next pass over all models sees what changed.",
            )
    return bytes(body)


async def _problem(_: Request, error: Exception) -> JSONResponse:
    """Answer as RFC 9457 says."""
    detail = str(error.detail) if isinstance(error, HTTPException) else str(error)
    status = _status(error)
    problem = {
        "type": "about:blank",
        "title": detail.partition(".")[0],
        "status": status,
        "detail": detail,
    }
    return JSONResponse(problem, status, media_type="application/problem+json")


def _status(error: Exception) -> int:
    """The one table of HTTP statuses."""
    if isinstance(error, HTTPException):
        return error.status_code
    if isinstance(error, RequestValidationError | InvalidName):
        return 422
    return 503 if isinstance(error, Unavailable) else 502


def _unseen(model: str, environment: str) -> Promotion:
    return Promotion(
        model=model,
        environment=environment,
        version=None,
        state="blind",
        waits_for="promote",
        reason="Promote looks at this model for the first time.",
        since=datetime.now(UTC),
        pull_request=None,
        verdict=None,
        serving=None,
        open=(),
    )
