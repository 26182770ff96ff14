"""What all parts of a model's YAML have in common. Pure."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, StringConstraints

from retrain.contract import Contract

ColumnName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""A plain SQL name: it is also a field in JSON and an input in ONNX."""


class Section(Contract):
    """A part of the YAML: no text where a number belongs, no NaN, no infinity."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)
