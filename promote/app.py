"""The promotion service: the reconciler's loop in a thread, woken by a nudge or the interval, and what it last saw over HTTP.

Who waits for a verdict (Airflow's `promote` task): POST /nudge/{model}, then GET /promotions/{model} until `version` is the one registered and either
`verdict` is set, or `waiting_for` is null (done) or begins with `a person` (nothing happens by itself). `waiting_for` begins with who is waited for:
`promote`, `the rollout`, `an answer`, `a reviewer`, `a person`. A greater `version` means that a newer challenger took the place.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from promote.contract import Promotion
from promote.errors import InvalidName, PromoteError
from promote.reconciler import Reconciler
from promote.release import check_model

log = logging.getLogger("promote")


class Loop:
    """Passes over all models in one thread; a nudge starts the next pass at once."""

    def __init__(self, reconciler: Reconciler, models: Callable[[], list[str]], *, environment: str, interval_seconds: float) -> None:
        self._reconciler, self._models, self._interval_seconds = reconciler, models, interval_seconds
        self._environment = environment
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

    def nudge(self, model: str) -> None:
        """Look at a model as soon as possible; it is known from now on."""
        waiting = "promote: the first look"
        unseen = Promotion(
            model=model, environment=self._environment, version=None, state="blind", waiting_for=waiting, since=_now(), pull_request=None, verdict=None
        )
        self.promotions.setdefault(model, unseen)
        self._nudged.add(model)
        self._wake.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            self._pass()
            self._wake.wait(self._interval_seconds)

    def _pass(self) -> None:
        try:
            self._known, self.problem = self._models(), None
        except PromoteError as error:
            self.problem = str(error)
            log.warning("state='blind' error=%s", error)
        nudged, self._nudged = self._nudged, set()
        for model in sorted({*self._known, *self.promotions, *nudged}, key=lambda name: (name not in nudged, name)):
            if self._stop.is_set():
                return
            try:
                self._reconciler.reconcile(model, self._keep)
            except Exception as error:  # the edge: one model's defect must not end the service for the others
                self.problem = f"{model}: {type(error).__name__}: {error}"
                log.exception("model=%s state='defect'", model)

    def _keep(self, promotion: Promotion) -> None:
        before = self.promotions.get(promotion.model)
        if before is None or (before.state, before.version) != (promotion.state, promotion.version):
            log.info("model=%s state=%r version=%s waiting_for=%r", promotion.model, promotion.state, promotion.version, promotion.waiting_for)
        self.promotions[promotion.model] = promotion


def create_app(loop: Loop) -> FastAPI:
    """Return the service over a loop, which lives as long as the service."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loop.start()
        yield
        loop.stop()

    app = FastAPI(title="Ratchet promotions", lifespan=lifespan)
    app.add_exception_handler(HTTPException, _problem)
    app.add_exception_handler(RequestValidationError, _problem)
    app.add_exception_handler(InvalidName, _problem)

    @app.post("/nudge/{model}", status_code=202)
    def nudge(model: str) -> dict[str, str]:
        """Look at a model now instead of with the next interval."""
        loop.nudge(check_model(model))
        return {"model": model, "promotion": f"/promotions/{model}"}

    @app.get("/promotions")
    def promotions(model: str | None = None) -> list[Promotion]:
        """Return where every model stands, or one."""
        return [promotion for name, promotion in sorted(loop.promotions.items()) if model in {None, name}]

    @app.get("/promotions/{model}")
    def promotion(model: str) -> Promotion:
        """Return where a model stands."""
        if check_model(model) not in loop.promotions:
            raise HTTPException(404, f"promote has not seen a model {model} yet; POST /nudge/{model} makes it look. Known: {sorted(loop.promotions)}.")
        return loop.promotions[model]

    @app.get("/health")
    def health() -> JSONResponse:
        """Return 200 while passes are made; what the last one could not see is said, and no reason to restart."""
        status = "ok" if loop.is_alive else "the loop has ended"
        return JSONResponse({"status": status, "problem": loop.problem}, 200 if loop.is_alive else 503)

    return app


async def _problem(_: Request, error: Exception) -> JSONResponse:
    """Answer as RFC 9457 says."""
    status, detail = (error.status_code, str(error.detail)) if isinstance(error, HTTPException) else (422, str(error))
    return JSONResponse(
        {"type": "about:blank", "title": detail.partition(".")[0], "status": status, "detail": detail}, status, media_type="application/problem+json"
    )


def _now() -> datetime:
    return datetime.now(UTC)
