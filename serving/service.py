"""The BentoML service: joins blocks of several calls into one call of the model.

The service is ready when the model is verified and has answered. The gateway is its only caller.
BentoML protects nothing: the shared token and the network policy do.
"""

from __future__ import annotations

import gc
import os
from functools import cache
from typing import Annotated, Any, cast

# BentoML and OpenTelemetry read these at import or first use. Without metrics a server answers
# 3.7 times as many requests (docs/facts.md, BentoML).
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault("OTEL_SDK_DISABLED", "true")

import bentoml
from bentoml.validators import ContentType
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from retrain.model.folder import read_folder
from serving.contract import AnswerBlock, Block, BlockError, Served
from serving.model import Model
from serving.settings import Settings, read_settings
from serving.token import TokenRequired

SHED_AFTER_MS = 60_000
"""BentoML refuses blocks that would wait longer. The gateway has the real deadline.

A tenth of this refuses half of all blocks under load (docs/facts.md).
"""
BLOCKS_AT_ONCE = 256
Answers = Annotated[list[AnswerBlock | BlockError], ContentType("application/json")]
"""With the content type. Otherwise BentoML builds a JSON schema for each answer to guess the type.

That is two thirds of the time of a call.
"""


async def metadata(request: Request) -> JSONResponse:
    """`GET /metadata`: which release answers here."""
    served: Served = request.app.state.served
    return JSONResponse(served.model_dump(mode="json"))


async def schema(request: Request) -> JSONResponse:
    """`GET /schema`: the model's inputs and outputs."""
    served: Served = request.app.state.served
    return JSONResponse(served.io.model_dump(mode="json"))


@cache
def load() -> tuple[Settings, Model]:
    """Return the released model, verified and warmed up; once a process.

    Raises:
        SettingsRefused: A setting is missing, wrong or unknown.
        ModelRefused: See `Model.load` and `Model.warm_up`.
    """
    settings = read_settings()
    model = Model.load(settings.model_folder, digest=settings.model_digest)
    model.warm_up()
    return settings, model


pages = Starlette(
    routes=[
        Route("/metadata", metadata, methods=["GET", "POST"]),
        Route("/schema", schema, methods=["GET", "POST"]),
    ]
)


@bentoml.service(
    name="server",
    workers=1,
    traffic={"timeout": 120},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(pages)
class Server:
    """Answers with the one model of its release."""

    def __init__(self) -> None:
        self._settings, self._model = load()
        pages.state.served = _served(self._model, self._settings)
        gc.collect()
        gc.freeze()  # these objects live to the end: the garbage collector may skip them

    @bentoml.on_deployment
    @staticmethod
    def refuse_an_altered_model() -> None:
        """End `bentoml serve` at once. Its supervisor would restart a refused worker for ever."""
        settings = read_settings()
        read_folder(settings.model_folder, digest=settings.model_digest)

    @bentoml.api(batchable=True, max_batch_size=BLOCKS_AT_ONCE, max_latency_ms=SHED_AFTER_MS)
    async def predict(self, blocks: list[Block]) -> Answers:
        """Answer each block. A bad block gets its error."""
        version, image_digest = self._settings.version, self._settings.image_digest
        return [
            answer
            if isinstance(answer, BlockError)
            else AnswerBlock(columns=answer, version=version, image_digest=image_digest)
            for answer in self._model.answer(blocks, max_rows=self._settings.max_rows)
        ]


# bentoml.service made Server a Service; mypy sees only the class below the decorator
cast("Any", Server).add_asgi_middleware(TokenRequired, token=lambda: load()[0].token)


def _served(model: Model, settings: Settings) -> Served:
    return Served(
        model=model.card.model,
        version=settings.version,
        image_digest=settings.image_digest,
        model_digest=settings.model_digest,
        snapshot_id=model.card.snapshot_id,
        io=model.card.io.for_callers(),
        max_rows=settings.max_rows,
        title=model.about.title,
        example=model.about.example,
    )
