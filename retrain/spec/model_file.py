"""A model's YAML becomes a ModelSpec, or all its mistakes with their lines. Pure.

Also the digests of plan, recipe and policy.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from retrain.contract import (
    MODEL_NAME,
    Digest,
    Feature,
    FeatureType,
    Output,
    TaskName,
    digest_of_bytes,
    digest_of_json,
    is_unset,
    problem_with_model_name,
)
from retrain.errors import InvalidSpec, Mistake
from retrain.spec.metric_name import MetricName
from retrain.spec.mistakes import impossible_lengths, mistakes_between, mistakes_of
from retrain.spec.section import ColumnName, Section
from retrain.spec.task_mistakes import mistakes_of_task
from retrain.spec.technique import Technique, default_techniques
from retrain.spec.units import Amount, Duration, Months, Share, cron_line
from retrain.spec.yaml_lines import read_yaml
from retrain.tasks.table import TASKS
from retrain.tasks.task import OutputForm, Task


class Columns(Section):
    """Which columns of the query play which part."""

    key: ColumnName
    event_time: ColumnName
    label: ColumnName
    groups: ColumnName
    weight: ColumnName | None = Field(None, exclude_if=is_unset)
    """How much each training row counts in the fit. Metrics count every row alike."""


class RefreshRule(Section):
    """Same recipe, newer rows: shares of the champion's value."""

    worse_by_at_most: Share = Field(default=0.01, ge=0, lt=1)
    confidence: float = Field(default=0.80, gt=0.5, lt=1)


class ChangeRule(Section):
    """Another recipe."""

    better_with_confidence: float = Field(default=0.95, gt=0.5, lt=1)


class SliceRule(Section):
    """Each column by itself; `max_worsening` in the metric's own unit."""

    by: tuple[ColumnName, ...] = Field(default=(), strict=False)
    min_rows: int = Field(default=200, ge=1)
    max_worsening: float = Field(default=0.03, ge=0)


class GatePolicy(Section):
    """The `gate:` section."""

    metric: MetricName = "log_loss"
    """The task's own when the YAML names none."""
    refresh: RefreshRule = RefreshRule()
    change: ChangeRule = ChangeRule()
    worthwhile: Share = Field(default=0.01, ge=0, lt=1)
    """Share of the champion's value."""
    guardrails: dict[MetricName, Annotated[float, Field(ge=0)]] = {}
    """Metric and how much it may worsen at most, in its own unit."""
    slices: SliceRule = SliceRule()
    churn: Amount | None = Field(None, exclude_if=is_unset)
    """The smallest change of an answer that the verdict counts, in the output's unit."""

    @property
    def policy_digest(self) -> str:
        """The policy's content address, part of a verdict's identity."""
        return digest_of_json(self.model_dump(mode="json"))


class PodResources(Section):
    """The `resources:` section: what the pod of a retraining asks for."""

    cpu: float | None = Field(None, gt=0)
    """Cores."""
    memory: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*(Mi|Gi)$")] | None = None
    gpu: int = Field(default=0, ge=0)
    """Whole devices, `nvidia.com/gpu`."""


class ServingOptions(Section):
    """The `serving:` section."""

    replicas: int = Field(default=2, ge=1)


class FixedTest(Section):
    """The `fixed_test:` section: days of UTC whose rows train no model; `to` is not among them."""

    first: date = Field(alias="from")
    to: date

    @model_validator(mode="after")
    def _has_a_day(self) -> FixedTest:
        if self.first >= self.to:
            raise ValueError(f"goes from {self.first} to {self.to}, which is not later")
        return self


class AnswerForm(Section, OutputForm):
    """The `output:` section: what callers read."""

    name: ColumnName


def _model_name(written: str) -> str:
    if problem := problem_with_model_name(written):
        raise ValueError(f"{problem}. It is `{written[:80]}`")
    return written


class ModelFields(Section):
    """What a YAML and a spec have in common."""

    name: Annotated[
        str,
        AfterValidator(_model_name),
        WithJsonSchema({"pattern": f"^{MODEL_NAME}$", "title": "Name", "type": "string"}),
    ]
    title: str = ""
    owner: Annotated[str, StringConstraints(min_length=1)]
    task: TaskName
    schedule: Annotated[
        str, StringConstraints(pattern=r"^\S+( \S+){4}$"), AfterValidator(cron_line)
    ] = "0 6 * * MON"
    source: str = "warehouse"
    query: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+\.sql$")]
    """The SQL's file name, beside the YAML."""
    columns: Columns
    window_months: Months = Field(default=3, alias="window")
    label_delay: Duration
    late_rows: Duration = Field(default=timedelta(days=14))
    validation: Duration = Field(default=timedelta(days=14), gt=timedelta(0))
    test: Duration = Field(default=timedelta(days=7), gt=timedelta(0))
    techniques: Annotated[dict[ColumnName, Technique], Field(min_length=1)] = {}
    """The task's own when the YAML names none."""
    max_training_rows: int | None = Field(None, ge=1, exclude_if=is_unset)
    """A fit of more rows takes this many of them, evenly spaced in time."""
    fixed_test: FixedTest | None = Field(None, exclude_if=is_unset)
    output: AnswerForm | None = Field(None, exclude_if=is_unset)
    gate: GatePolicy = GatePolicy()
    serving: ServingOptions = ServingOptions()
    resources: PodResources = PodResources()
    """Of the pod, and part of no digest. RATCHET_RETRAIN_… stand for what is left out."""

    @model_validator(mode="before")
    @classmethod
    def _defaults_are_the_tasks(cls, written: Any) -> Any:
        """Fill in metric and techniques that the YAML leaves to its task."""
        if not isinstance(written, dict) or written.get("task") not in TASKS:
            return written
        task = TASKS[written["task"]]
        gate = written.get("gate", {})
        if isinstance(gate, dict):
            gate = {"metric": task.default_metric, **gate}
        return {"techniques": default_techniques(task), **written, "gate": gate}


class ModelSpec(ModelFields):
    """One model as the rest of Ratchet works with it."""

    query_text: str
    features: tuple[Feature, ...]

    @property
    def the_task(self) -> Task:
        """The task as an object."""
        return TASKS[self.task]

    @property
    def answer(self) -> Output:
        """What the model answers, and where its network gives the answer."""
        return self.the_task.output(self.columns.label, self.output)

    @property
    def training_columns(self) -> list[str]:
        """The columns that training needs, each once."""
        columns = self.columns
        names = [feature.name for feature in self.features] + [columns.label, columns.groups]
        return list(dict.fromkeys([*names, columns.weight] if columns.weight else names))

    @property
    def recorded_metrics(self) -> tuple[str, ...]:
        """The task's metrics and those of the gate."""
        named = (*self.the_task.metrics, self.gate.metric, *self.gate.guardrails)
        return tuple(dict.fromkeys(named))

    @property
    def query_digest(self) -> Digest:
        """The query's content address; how its lines end does not count."""
        return digest_of_bytes("\n".join(self.query_text.split("\r\n")).encode())

    @property
    def plan_digest(self) -> Digest:
        """Everything but the rows: features, query, techniques, window lengths, metric."""
        return self._digest_with(self.techniques)

    def recipe_digest(self, technique: str) -> Digest:
        """The plan with the one technique that ships."""
        return self._digest_with({technique: self.techniques[technique]})

    def _digest_with(self, techniques: dict[str, Technique]) -> Digest:
        """Words for people (title, owner, a feature's unit and description) do not count."""
        set_only: dict[str, object] = {"output": {"name": self.output.name}} if self.output else {}
        if self.max_training_rows is not None:
            set_only["max_training_rows"] = self.max_training_rows
        if self.fixed_test is not None:
            set_only["fixed_test"] = [str(self.fixed_test.first), str(self.fixed_test.to)]
        return digest_of_json(
            set_only
            | {
                "task": self.task,
                "query": self.query_digest,
                "columns": self.columns.model_dump(),
                "features": [
                    feature.model_dump(include={"name", "type", "required", "minimum", "maximum"})
                    for feature in self.features
                ],
                "window_months": self.window_months,
                "seconds": [
                    length.total_seconds()
                    for length in (self.label_delay, self.validation, self.test)
                ],
                "metric": self.gate.metric,
                "techniques": {
                    name: technique.model_dump() for name, technique in techniques.items()
                },
            }
        )


class FeatureForm(Section):
    """A feature's line: `category`, or a mapping with `type`."""

    type: FeatureType
    required: bool = True
    unit: str | None = None
    description: str = ""
    minimum: float | None = None
    maximum: float | None = None

    @model_validator(mode="after")
    def _bounds_make_sense(self) -> FeatureForm:
        bounded = self.minimum is not None or self.maximum is not None
        if bounded and self.type in ("category", "boolean"):
            raise ValueError(f"is a {self.type} and has no minimum or maximum")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"has a minimum of {self.minimum} above its maximum of {self.maximum}")
        return self


def _feature_form(written: Any) -> Any:
    return {"type": written} if isinstance(written, str) else written


class ModelFile(ModelFields):
    """The YAML as a person writes it; the form behind `retrain schema`."""

    features: Annotated[
        dict[ColumnName, Annotated[FeatureForm, BeforeValidator(_feature_form)]],
        Field(min_length=1),
    ]

    def to_spec(self, query_text: str) -> ModelSpec:
        """Return the spec that the rest of Ratchet works with."""
        features = tuple(
            Feature(name=name, **form.model_dump()) for name, form in self.features.items()
        )
        return ModelSpec.model_construct(
            **{**dict(self), "features": features, "query_text": query_text}
        )


def parse_spec(text: str, *, path: str, query_text: str | None) -> ModelSpec:
    """Return the spec that a YAML text says.

    Args:
        text: The YAML file's text.
        path: The file's path, for the errors.
        query_text: The SQL beside it; None when that file is missing.

    Raises:
        retrain.errors.InvalidSpec: With every mistake and its line.
    """
    located = read_yaml(text)
    mistakes = [Mistake(path, line, sentence) for line, sentence in located.problems]
    form: ModelFile | None = None
    if not mistakes or located.lines:
        try:
            form = ModelFile.model_validate(located.value)
        except ValidationError as error:
            mistakes += mistakes_of(
                [dict(each) for each in error.errors()], located, ModelFile, path
            )
        mistakes += [
            Mistake(path, located.line_of(place), sentence)
            for place, sentence in mistakes_between(located, query_text)
        ]
    if form is not None:
        mistakes += [
            Mistake(path, located.line_of(place), sentence)
            for place, sentence in impossible_lengths(
                form.window_months, form.label_delay, form.validation, form.test
            )
        ]
        mistakes += [
            Mistake(path, located.line_of(place), sentence)
            for place, sentence in mistakes_of_task(
                TASKS[form.task],
                form.output,
                metric=form.gate.metric,
                guardrails=form.gate.guardrails,
                churn=form.gate.churn,
                estimators={name: one.estimator for name, one in form.techniques.items()},
            )
        ]
    if form is None or query_text is None or mistakes:
        raise InvalidSpec(mistakes)
    return form.to_spec(query_text)


def published_schema() -> dict[str, Any]:
    """Return the JSON Schema of a model's YAML, as `dags/models/model.schema.json` has it."""
    schema = ModelFile.model_json_schema()
    short_form = {"enum": schema["$defs"]["FeatureForm"]["properties"]["type"]["enum"]}
    features = schema["properties"]["features"]["patternProperties"]
    features.update({pattern: {"anyOf": [short_form, form]} for pattern, form in features.items()})
    schema["title"] = "A model of Ratchet"
    del schema["$defs"]["GatePolicy"]["properties"]["metric"]["default"]  # the task decides
    del schema["properties"]["techniques"]["default"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
