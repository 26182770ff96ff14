"""A model's YAML becomes a ModelSpec; every mistake at once, with its line. Also the digests of plan, recipe and policy. Pure."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from retrain.contract import Contract, Digest, Feature, Task, digest_of_json

MetricName = str
"""A name from `retrain.comparison.METRICS`."""


class Columns(Contract):
    """Which columns of the query play which part."""

    key: str
    event_time: str
    label: str
    groups: str


class Technique(Contract):
    """An estimator's import path and parameters."""

    estimator: str
    params: dict[str, bool | int | float | str | None] = {}


class RefreshRule(Contract):
    """Same recipe, newer rows: shares of the champion's value."""

    worse_by_at_most: float = Field(default=0.01, ge=0, lt=1)
    confidence: float = Field(default=0.80, gt=0.5, lt=1)


class ChangeRule(Contract):
    """Another recipe."""

    better_with_confidence: float = Field(default=0.95, gt=0.5, lt=1)


class SliceRule(Contract):
    """Each column by itself; `max_worsening` in the metric's own unit."""

    by: tuple[str, ...] = ()
    min_rows: int = Field(default=200, ge=1)
    max_worsening: float = Field(default=0.03, ge=0)


class GatePolicy(Contract):
    """The `gate:` section."""

    metric: MetricName = "log_loss"
    refresh: RefreshRule = RefreshRule()
    change: ChangeRule = ChangeRule()
    worthwhile: float = Field(default=0.01, ge=0, lt=1)
    """Share of the champion's value."""
    guardrails: dict[MetricName, float] = {}
    """Metric and how much it may worsen at most, in its own unit."""
    slices: SliceRule = SliceRule()

    @property
    def policy_digest(self) -> str:
        """The policy's content address, part of a verdict's identity."""
        return digest_of_json(self.model_dump(mode="json"))


class ServingOptions(Contract):
    """The `serving:` section."""

    replicas: int = Field(default=2, ge=1)


class ModelSpec(Contract):
    """One model, one file."""

    name: str
    title: str = ""
    owner: str
    task: Task
    schedule: str = "0 6 * * MON"
    source: str = "warehouse"
    query: str
    """The SQL's file name, beside the YAML."""
    query_text: str
    columns: Columns
    label_delay: timedelta
    late_rows: timedelta = timedelta(days=14)
    features: tuple[Feature, ...]
    window_months: int = Field(default=3, ge=1)
    validation: timedelta = timedelta(days=14)
    test: timedelta = timedelta(days=7)
    techniques: dict[str, Technique]
    gate: GatePolicy = GatePolicy()
    serving: ServingOptions = ServingOptions()

    @property
    def plan_digest(self) -> Digest:
        """Everything but the rows: features, query, techniques, window lengths, metric."""
        raise NotImplementedError

    def recipe_digest(self, technique: str) -> Digest:
        """The plan with the one technique that ships."""
        raise NotImplementedError


def parse_spec(text: str, *, path: str, query_text: str | None) -> ModelSpec:
    """Return the spec that a YAML text says.

    Args:
        text: The YAML file's text.
        path: Named in the errors.
        query_text: The SQL beside it; None when that file is missing.

    Raises:
        retrain.errors.InvalidSpec: With every mistake and its line.
    """
    raise NotImplementedError
