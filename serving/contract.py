"""What a server answers and is asked: blocks of rows in columns. Pure."""

from __future__ import annotations

from pydantic import Field

from retrain.contract import Cell, Contract, Digest, ModelSchema


class Block(Contract):
    """One caller's rows, in columns of equal length."""

    columns: dict[str, list[Cell]]


class BlockError(Contract):
    """Why one block was not answered; its neighbours in the batch were."""

    status: int = Field(ge=400, le=599)
    detail: str


class AnswerBlock(Contract):
    """The answers to one block, and the release that computed them.

    The gateway checks the release: during a rollout another server may take over the port.
    """

    columns: dict[str, list[float]]
    version: int
    image_digest: str


class PredictRequest(Contract):
    """The body of `POST /predict`."""

    blocks: list[Block]


PredictResponse = list[AnswerBlock | BlockError]


class Served(Contract):
    """`GET /metadata`: what this server answers with."""

    model: str
    version: int
    image_digest: str
    model_digest: Digest
    snapshot_id: Digest
    io: ModelSchema
    max_rows: int = Field(ge=1)
    """Rows a block may have."""
    title: str = ""
    """The question that the model answers; empty from servers and models that do not say it."""
    example: dict[str, bool | int | float | str] = {}
    """One recorded row, as a caller sends it; empty from servers and models that have none."""
