"""The rules by which all four services read their settings from environment variables. Pure.

A service hands its environment in. Every problem is reported at once, and no message holds a value.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from pydantic import AfterValidator, BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

SettingsForm = TypeVar("SettingsForm", bound=BaseModel)
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT)(_|$)|_PORT_\d+_(TCP|UDP)(_|$)")
_HEADER_TEXT = re.compile(r"[!-~]*")
_NO_HEADER_TEXT = (
    "it holds a space, a line end or a character outside ASCII, which no HTTP header may carry."
    " `printf %s` writes a secret without a line end"
)
_ADDRESS = re.compile(r"https?://[^/?#@\s]+(/[^?#@\s]*)?")


class SettingsRefused(Exception):
    """A service cannot start with its settings.

    The message has a sentence for each problem. It holds names of settings and never a value:
    any value may be a secret, or a secret that was put into the wrong setting.
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
        form: The class of the settings. Its field `port` is read from the variable `<prefix>PORT`.
        environment: Every variable of the process.
        prefix: Of our variables, such as `RETRAIN_`. A variable with this prefix must be a setting.
        library_tokens: Variables that a library sends as an HTTP header, such as an access token.

    Raises:
        SettingsRefused: A variable is unknown, missing or wrong. It reports all problems at once.

    >>> class Form(BaseModel):
    ...     port: int
    >>> settings_from(Form, {"DEMO_PORT": "80", "PATH": "/bin"}, prefix="DEMO_").port
    80
    >>> settings_from(Form, {"DEMO_PROT": "80"}, prefix="DEMO_")
    Traceback (most recent call last):
    retrain.environment.SettingsRefused: DEMO_PROT is no setting: did you mean DEMO_PORT?; \
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

    >>> from pydantic import Field
    >>> class Form(BaseModel):
    ...     port: int = Field(80, description="Where it listens.")
    >>> print(settings_help(Form, prefix="DEMO_"))
    Settings, read from environment variables:
      DEMO_PORT (default: 80)
          Where it listens.
    """
    lines = ["Settings, read from environment variables:"]
    for name, field in form.model_fields.items():
        shown = "none" if field.default in (None, "") else field.default
        default = "required" if field.is_required() else f"default: {shown}"
        lines.append(f"  {prefix}{name.upper()} ({default})")
        lines += [f"      {line.strip()}" for line in (field.description or "").splitlines()]
    return "\n".join(lines)


def header_secret(least: int = 1) -> AfterValidator:
    """Return the check of a secret that is sent as an HTTP header; `least` counts characters.

    An HTTP client that cannot send a header shows it in its error, with the secret.
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


def _unknown_setting(name: str, settings: Iterable[str]) -> str:
    if _SERVICE_LINK.search(name):
        advice = "Kubernetes adds it for a Service; set `enableServiceLinks: false` in the pod"
        return f"{name} is no setting: {advice}"
    nearest = difflib.get_close_matches(name, list(settings), n=1, cutoff=0)
    return f"{name} is no setting: did you mean {nearest[0]}?"


def _wrong_setting(prefix: str, error: ErrorDetails) -> str:
    name = f"{prefix}{error['loc'][0]}".upper()
    if error["type"] == "missing":
        return f"{name} is not set, and has no default"
    ours = error.get("ctx", {}).get("error")
    reason = re.sub(r"^\w+ should", "it should", str(ours or error["msg"]))
    return f"{name} cannot be used: {reason}"
