"""What leaves promote: the verdict, the release that git names, and where a promotion stands. Pure."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from retrain.contract import Comparison, Contract, Digest

Outcome = Literal["promote", "keep", "inconclusive"]
Kind = Literal["first", "refresh", "change"]


class Reason(Contract):
    """What one rule of the gate found, as a sentence a reviewer understands."""

    rule: str
    outcome: Literal["pass", "block", "warn", "unknown"]
    sentence: str


class Verdict(Contract):
    """The gate's answer for one challenger against one champion under one policy."""

    outcome: Outcome
    kind: Kind
    model: str
    challenger: int
    """Version in the model registry."""
    champion: int | None
    """Version that main names; None for the first release."""
    snapshot_id: Digest
    policy_digest: Digest
    comparisons: tuple[Comparison, ...]
    """The gate's metric on all rows first, then guardrails, then slices."""
    reasons: tuple[Reason, ...]


class Release(Contract):
    """What release.yaml says: the one version that should run."""

    model: str
    version: int = Field(ge=1)
    image: str
    """Repository and digest, `ratchet/flight-delay@sha256:…`."""
    model_digest: Digest
    verdict_digest: Digest


class Promotion(Contract):
    """Where one model's promotion in one environment stands."""

    model: str
    environment: str
    version: int | None
    """The challenger's version; None when there is none."""
    state: str
    waiting_for: str | None
    """None when nothing is left to wait for."""
    since: AwareDatetime
    pull_request: int | None
    verdict: Outcome | None
