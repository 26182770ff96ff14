"""The values that leave retrain: schema, snapshot, card and comparison of models. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
"""A sha256, written `sha256:` and 64 lower-case hexadecimal digits."""

MODEL_NAME = "[a-z]([a-z0-9-]{0,38}[a-z0-9])?"
"""The one pattern for a model's name, always matched as a whole.

Kubernetes allows 63 characters, MLflow, git and image registries more: 40 leave 23 for what is put
before or after, such as `retrain-` and `server-`, an environment or a variant.
"""
RESERVED_MODEL_NAMES = frozenset(
    {
        "base",
        "blobs",
        "cluster",
        "notifications",
        "platform",
        "release",
        "repository",
        "services",
        "training-services",
    }
)
"""Files and folders of gitops/ and of an image folder. A model must not overwrite them."""

Cell = float | str | None
"""One value of a row as a model takes it: a number, a category, or missing."""
FeatureType = Literal["number", "integer", "boolean", "category"]
TaskName = Literal["binary_classification", "regression"]


class Contract(BaseModel):
    """A frozen value that crosses a boundary; an unknown field is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    def to_bytes(self) -> bytes:
        """Return the value as canonical JSON: the bytes of its file, and what a digest is of."""
        return canonical_json(self.model_dump(mode="json"))


class Feature(Contract):
    """One input of a model, as a client must send it."""

    name: str
    type: FeatureType
    required: bool = True
    unit: str | None = None
    description: str = ""
    minimum: float | None = None
    maximum: float | None = None
    known_categories: tuple[str, ...] = ()
    """The categories of the training rows, sorted. Documentation only: other values are legal."""


def is_unset(value: object) -> bool:
    """Return True for a field that is not set; such a field is not written."""
    return value is None


class Output(Contract):
    """One number that a model answers for each row.

    A field that is not set is not written, so that cards of format 1 keep their bytes.
    """

    name: str
    description: str = ""
    minimum: float | None = None
    maximum: float | None = None
    unit: str | None = Field(None, exclude_if=is_unset)
    classes: tuple[str, ...] | None = Field(None, exclude_if=is_unset)
    """What the whole numbers of this output stand for, in order; None when they are no classes."""
    network_output: str | None = Field(None, exclude_if=is_unset)
    """The network's own name of the output. None in cards of format 1 and in a server's answers."""
    column: int | None = Field(None, exclude_if=is_unset)
    """Which column of `network_output`, of shape [N, columns]; None when its shape is [N]."""


class ModelSchema(Contract):
    """A model's input and output."""

    features: tuple[Feature, ...]
    outputs: tuple[Output, ...]

    def for_callers(self) -> ModelSchema:
        """Return the schema without how to read the network."""
        hidden = {"network_output": None, "column": None}
        outputs = tuple(output.model_copy(update=hidden) for output in self.outputs)
        return self.model_copy(update={"outputs": outputs})


class Split(Contract):
    """The rows whose group is in `groups` and whose event time is in `[start, end)`."""

    groups: tuple[str, ...]
    start: AwareDatetime
    end: AwareDatetime
    rows: int = Field(ge=0)


class Partition(Contract):
    """All rows of one ISO week (`2013-W27`, UTC) as one immutable Parquet file."""

    week: str
    uri: str
    rows_digest: Digest
    rows: int = Field(ge=0)


class Snapshot(Contract):
    """The manifest of a window: its partitions, and which rows train, validate and test.

    `key`, `event_time`, `label` and `groups` are column names.
    """

    query_digest: Digest
    key: str
    event_time: str
    label: str
    groups: str
    train: Split
    validation: Split
    test: Split
    partitions: tuple[Partition, ...]
    fixed_test: Split | None = Field(None, exclude_if=is_unset)
    """Rows that train and validate no model of this name; None when the model file has none."""

    @property
    def snapshot_id(self) -> str:
        """The digest of the content; where the partitions lie does not count."""
        without_places = {"partitions": {"__all__": {"uri"}}}
        return digest_of_json(self.model_dump(mode="json", exclude=without_places))


class ModelCard(Contract):
    """`model.json` of a model folder: what the model is and the digest of each of its files."""

    format_version: Literal[1, 2] = 1
    """2: each output says where the network gives it. 1: `probabilities`, column 1."""
    model: str
    task: TaskName
    technique: str
    io: ModelSchema
    snapshot_id: Digest
    recipe_digest: Digest
    files: dict[str, Digest]

    @model_validator(mode="after")
    def _outputs_are_of_the_format(self) -> ModelCard:
        says = {output.network_output is not None for output in self.io.outputs}
        if says - {self.format_version == 2}:
            raise ValueError("in format 2, and only there, every output has a `network_output`")
        return self

    @property
    def model_digest(self) -> str:
        """The sha256 of `model.json`: the one name of this model's content, wherever it lies."""
        return digest_of_bytes(self.to_bytes())


class ModelAbout(Contract):
    """`about.json` of a model folder: what people read about the model. Old folders lack it."""

    title: str = ""
    """The question that the model answers."""
    example: dict[str, bool | int | float | str] = {}
    """One recorded row, as a caller sends it; missing values are left out."""


class Interval(Contract):
    """A two-sided interval whose each bound holds with the one-sided `confidence`."""

    estimate: float
    lower: float
    upper: float
    confidence: float = Field(gt=0.5, lt=1)


class Comparison(Contract):
    """Champion and challenger on the same rows.

    An `improvement` above 0 means that the challenger is better, whatever the metric's direction.
    """

    metric: str
    where: str
    """`all rows`, or a slice such as `origin = JFK`."""
    champion: float
    challenger: float
    improvement: Interval
    rows: int = Field(ge=0)
    groups: int = Field(ge=0)
    effective_groups: float = Field(ge=0)


def problem_with_model_name(name: str) -> str:
    """Return why a text cannot be a model's name, as the end of a sentence; empty when it can.

    >>> problem_with_model_name("flight-delay")
    ''
    >>> problem_with_model_name("platform")
    'is taken: gitops/ or the image folder has a file or folder of that name. Choose another name'
    """
    if not re.fullmatch(MODEL_NAME, name):
        return (
            "is no model's name. Use 1 to 40 lower-case letters, digits and dashes,"
            " a letter first, no dash last"
        )
    if name in RESERVED_MODEL_NAMES:
        return (
            "is taken: gitops/ or the image folder has a file or folder of that name."
            " Choose another name"
        )
    return ""


def digest_of_bytes(content: bytes) -> str:
    """Return the content's address.

    >>> digest_of_bytes(b"")[:19]
    'sha256:e3b0c44298fc'
    """
    return "sha256:" + hashlib.sha256(content).hexdigest()


def canonical_json(content: object) -> bytes:
    r"""Return the one encoding of a JSON value: sorted keys, no spaces, UTF-8, a final line end.

    Raises:
        ValueError: A number is NaN or infinite, which JSON does not have.

    >>> canonical_json({"b": 1, "a": "é"})
    b'{"a":"\xc3\xa9","b":1}\n'
    """
    text = json.dumps(
        content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode() + b"\n"


def digest_of_json(content: object) -> str:
    """Return the digest of a JSON value's canonical encoding."""
    return digest_of_bytes(canonical_json(content))


def utc_text(moment: datetime) -> str:
    """Return a moment as tags and logs write it, to the second.

    >>> from datetime import UTC
    >>> utc_text(datetime(2013, 7, 8, tzinfo=UTC))
    '2013-07-08T00:00:00Z'
    """
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
