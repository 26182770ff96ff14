"""What leaves retrain: a model's schema, the snapshot it saw, its card, and how two models compare.

Also the rules that the settings of all four services keep. Pure.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
)
from pydantic_core import ErrorDetails

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
"""A sha256, written `sha256:` and 64 lower-case hexadecimal digits."""

MODEL_NAME = "[a-z]([a-z0-9-]{0,38}[a-z0-9])?"
"""The one pattern for a model's name, always matched as a whole.

Kubernetes allows 63 characters, MLflow, git and image registries more: 40 leave 23 for what is put
before or after, such as `retrain-` and `server-`, an environment or a variant.
"""
MODEL_NAME_RULE = "1 to 40 lower-case letters, digits and dashes, a letter first, no dash last"
RESERVED_MODEL_NAMES = frozenset(
    {"base", "blobs", "cluster", "notifications", "platform", "release", "repository", "services"}
)
"""Files and folders of gitops/ and of an image folder: a model of that name would overwrite them."""

FeatureType = Literal["number", "integer", "boolean", "category"]
Task = Literal["binary_classification"]


class Contract(BaseModel):
    """A frozen value that crosses a boundary; an unknown field is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


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
    """Seen in training, sorted; documentation only: a category outside it is legal."""


class Output(Contract):
    """One number that a model answers for each row."""

    name: str
    description: str = ""
    minimum: float | None = None
    maximum: float | None = None


class ModelSchema(Contract):
    """A model's input and output."""

    features: tuple[Feature, ...]
    outputs: tuple[Output, ...]


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

    @property
    def snapshot_id(self) -> str:
        """The digest of the content; where the partitions lie does not count."""
        content = self.model_dump(mode="json")
        for partition in content["partitions"]:
            del partition["uri"]
        return digest_of_json(content)


class ModelCard(Contract):
    """`model.json` of a model folder: what the model is and the digest of each of its files."""

    format_version: Literal[1] = 1
    model: str
    task: Task
    technique: str
    io: ModelSchema
    snapshot_id: Digest
    recipe_digest: Digest
    files: dict[str, Digest]

    def to_bytes(self) -> bytes:
        """The bytes of `model.json`; their sha256 is the model digest."""
        return canonical_json(self.model_dump(mode="json"))

    @property
    def model_digest(self) -> str:
        """The one name of this model's content, wherever it lies."""
        return digest_of_bytes(self.to_bytes())


class ModelAbout(Contract):
    """`about.json` of a model folder: what people read about the model. Folders written before have none."""

    title: str = ""
    """The question that the model answers."""
    example: dict[str, bool | int | float | str] = {}
    """One recorded row, as a caller sends it; missing values are left out."""

    def to_bytes(self) -> bytes:
        """The bytes of `about.json`."""
        return canonical_json(self.model_dump(mode="json"))


class Interval(Contract):
    """A two-sided interval whose each bound holds with the one-sided `confidence`."""

    estimate: float
    lower: float
    upper: float
    confidence: float = Field(gt=0.5, lt=1)


class Comparison(Contract):
    """Champion and challenger on the same rows; `improvement` above 0 means the challenger is better, whatever the metric's direction."""

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
        return f"is no model's name. Use {MODEL_NAME_RULE}"
    if name in RESERVED_MODEL_NAMES:
        taken = "gitops/ or the image folder has a file or folder of that name"
        return f"is taken: {taken}. Choose another name"
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


SettingsForm = TypeVar("SettingsForm", bound=BaseModel)
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT)(_|$)|_PORT_\d+_(TCP|UDP)(_|$)")
_HEADER_TEXT = re.compile(r"[!-~]*")
_ADDRESS = re.compile(r"https?://[^/?#@\s]+(/[^?#@\s]*)?")


class SettingsRefused(Exception):
    """A service cannot start with its settings.

    The message has a sentence for each problem. It holds names of settings and never a value:
    any value may be a secret, or may be one that was put into the wrong setting.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


def settings_from(
    form: type[SettingsForm],
    environment: Mapping[str, str],
    *,
    prefix: str,
    library_tokens: Iterable[str] = (),
) -> SettingsForm:
    """Return the settings that an environment holds.

    Args:
        form: The class of the settings; a field `port` is read from the variable `<prefix>PORT`.
        environment: Every variable of the process.
        prefix: Of our variables, such as `RETRAIN_`. A variable with this prefix must be a setting.
        library_tokens: Variables that a library sends as an HTTP header, such as an access token.

    Raises:
        SettingsRefused: A variable is unknown, missing or wrong; all problems are named at once.

    >>> class Form(BaseModel):
    ...     port: int
    >>> settings_from(Form, {"DEMO_PORT": "80", "PATH": "/bin"}, prefix="DEMO_").port
    80
    >>> settings_from(Form, {"DEMO_PROT": "80"}, prefix="DEMO_")
    Traceback (most recent call last):
    retrain.contract.SettingsRefused: DEMO_PROT is no setting: did you mean DEMO_PORT?; \
DEMO_PORT is not set, and has no default
    """
    fields = {f"{prefix}{field.upper()}": field for field in form.model_fields}
    given = {
        name.upper(): value
        for name, value in environment.items()
        if name.upper().startswith(prefix)
    }
    problems = [_unknown_setting(name, fields) for name in sorted(given.keys() - fields.keys())]
    problems += [
        f"{name} cannot be used: {_NO_HEADER_TEXT}"
        for name in library_tokens
        if not _HEADER_TEXT.fullmatch(environment.get(name, ""))
    ]
    try:
        settings = form(**{fields[name]: given[name] for name in given.keys() & fields.keys()})
    except ValidationError as refusal:
        problems += [_wrong_setting(prefix, error) for error in refusal.errors()]
    if problems:
        raise SettingsRefused(problems)  # outside of `except`: a traceback would show the values
    return settings



def settings_help(form: type[BaseModel], *, prefix: str) -> str:
    """Return the settings of a form as a list for `--help`: variable, default and meaning.

    >>> class Form(BaseModel):
    ...     port: int = Field(80, description="Where it listens.")
    >>> print(settings_help(Form, prefix="DEMO_"))
    Settings, read from environment variables:
      DEMO_PORT (default: 80)
          Where it listens.
    """
    lines = ["Settings, read from environment variables:"]
    for name, field in form.model_fields.items():
        default = "required" if field.is_required() else f"default: {'none' if field.default in (None, '') else field.default}"
        lines.append(f"  {prefix}{name.upper()} ({default})")
        lines += [f"      {line.strip()}" for line in (field.description or "").splitlines()]
    return "\n".join(lines)


_NO_HEADER_TEXT = "it holds a space, a line end or a character outside ASCII, which no HTTP header may carry. `printf %s` writes a secret without a line end"


def header_secret(least: int = 1) -> AfterValidator:
    """Return the check of a secret that is sent as an HTTP header; `least` counts characters.

    HTTP clients show a header that they cannot send in their error, the secret included.
    """

    def checked(secret: SecretStr) -> SecretStr:
        text = secret.get_secret_value()
        if len(text) < least:
            raise ValueError(f"it must have at least {least} characters")
        if not _HEADER_TEXT.fullmatch(text):
            raise ValueError(_NO_HEADER_TEXT)
        return secret

    return AfterValidator(checked)


def plain_address(address: str) -> str:
    """Return an HTTP address that holds no secret, so that messages and links may show it.

    Raises:
        ValueError: It holds a login or a query, or is no HTTP address.

    >>> plain_address("http://127.0.0.1:5000/mlflow")
    'http://127.0.0.1:5000/mlflow'
    """
    if not _ADDRESS.fullmatch(address):
        raise ValueError("write http://<host> or https://<host>, without a user, password or query")
    return address


def _unknown_setting(name: str, known: Iterable[str]) -> str:
    if _SERVICE_LINK.search(name):
        advice = "Kubernetes adds it for a Service; set `enableServiceLinks: false` in the pod"
        return f"{name} is no setting: {advice}"
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0)
    return f"{name} is no setting: did you mean {near[0]}?"


def _wrong_setting(prefix: str, error: ErrorDetails) -> str:
    name = f"{prefix}{error['loc'][0]}".upper()
    if error["type"] == "missing":
        return f"{name} is not set, and has no default"
    ours = error.get("ctx", {}).get("error")
    reason = re.sub(r"^\w+ should", "it should", str(ours or error["msg"]))
    return f"{name} cannot be used: {reason}"
