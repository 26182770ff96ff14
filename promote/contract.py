"""Values that leave promote: the verdict, the release, and where a promotion stands. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field
from pydantic.dataclasses import dataclass

from promote.errors import InvalidName
from retrain.contract import Comparison, Contract, Digest, digest_of_json, problem_with_model_name

Outcome = Literal["promote", "keep", "inconclusive"]
Kind = Literal["first", "refresh", "change"]
Purpose = Literal["promotion", "rollback", "revert"]
"""Of a pull request. A person asks for a rollback; promote opens a revert by itself."""
WaitsFor = Literal["promote", "rollout", "outage", "reviewer", "person"]
"""Who acts next. `outage`: promote asks again. `person`: nothing changes without a person."""
State = Literal[
    "blind",
    "return ungated",
    "failed",
    "alias behind",
    "unrecognised",
    "unrecorded",
    "obsolete",
    "failed unrecorded",
    "unannounced",
    "rolling out",
    "failed, held",
    "closing",
    "edited",
    "stale",
    "superseded",
    "ungated",
    "left behind",
    "no challenger",
    "had its turn",
    "proposed",
    "rejected",
    "unjudged",
    "kept",
    "inconclusive",
    "unbuilt",
    "unbranched",
    "unopened",
]
"""In the order in which promote/loop/lifecycle.py tries them; the first that holds counts."""


def check_model(model: str) -> str:
    """Return a model's name, safe in paths, branches and URLs.

    Raises:
        InvalidName: The name has other letters, or is too long.
    """
    if problem := problem_with_model_name(model):
        raise InvalidName(f"{model[:80]!r} {problem}.")
    return model


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Slot:
    """A place where one release runs at a time; raises InvalidName for an unsafe model name."""

    model: Annotated[str, AfterValidator(check_model)]
    environment: str


class Reason(Contract):
    """The result of one rule of the gate, with a sentence for the reviewer."""

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
    """The version that main names; None for the first release."""
    snapshot_id: Digest
    policy_digest: Digest
    comparisons: tuple[Comparison, ...]
    """The gate's metric on all rows first, then guardrails, then slices."""
    reasons: tuple[Reason, ...]

    @property
    def digest(self) -> str:
        """The verdict's content address, in release.yaml and in the version's tag."""
        return digest_of_json(self.model_dump(mode="json"))


class Release(Contract):
    """The content of release.yaml: the version that should run."""

    model: str
    version: int = Field(ge=1)
    image: str
    """Repository and digest, `ratchet/flight-delay@sha256:…`."""
    model_digest: Digest
    verdict_digest: Digest


class Serving(Contract):
    """The release that was last seen healthy. A commit that removes release.yaml ends it."""

    version: int
    image: str
    since: AwareDatetime
    """When promote first saw the release healthy after it came to main."""
    pull_request: int | None
    """None when a push brought the release to main."""
    url: str | None
    """The pull request's page."""


class OpenPullRequest(Contract):
    """A pull request of promote's that waits for a person."""

    number: int
    purpose: Purpose
    version: int
    """The version that merging it would release."""
    url: str
    since: AwareDatetime


class Promotion(Contract):
    """Where one model's promotion in one environment stands."""

    model: str
    environment: str
    version: int | None
    """The challenger's version; without a challenger, the newest that main ever named."""
    state: State
    waits_for: WaitsFor | None
    """Who has to do something next; None when nothing is left to do."""
    reason: str
    """Why, and what to do, as a sentence for people."""
    since: AwareDatetime | None
    """When the state began, from MLflow, git or the forge; None when none of them says."""
    pull_request: int | None
    """The pull request of `version`."""
    verdict: Outcome | None
    """On `version`."""
    serving: Serving | None
    open: tuple[OpenPullRequest, ...]
    """Newest first."""
