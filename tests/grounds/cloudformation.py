"""Reads our CloudFormation templates and fills in what AWS fills in.

These are parameters, pseudo parameters and the names of resources.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "infra" / "aws"
ACCOUNT, REGION = "123456789012", "eu-central-1"
_PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
}


class _Loader(yaml.SafeLoader):
    """Knows the short forms of functions."""


def _function(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix == "Ref" else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        return {name: value.split(".", 1) if suffix == "GetAtt" else value}
    assert isinstance(node, yaml.SequenceNode)
    return {name: loader.construct_sequence(node, deep=True)}


_Loader.add_multi_constructor("!", _function)


def template(name: str) -> dict[str, Any]:
    """A template as JSON would have it."""
    loaded: dict[str, Any] = yaml.load((FOLDER / f"{name}.yaml").read_text(), _Loader)
    return loaded


def resources(content: Mapping[str, Any], **parameters: str) -> dict[str, dict[str, Any]]:
    """The properties of every resource by its logical name. Values replace functions."""
    defaults = {
        name: str(given["Default"])
        for name, given in content["Parameters"].items()
        if "Default" in given
    }
    given = {**defaults, **parameters}
    if missing := set(content["Parameters"]) - set(given):
        raise KeyError(f"no value for {sorted(missing)}")
    names = {
        name: resource["Properties"].get("BucketName")
        for name, resource in content["Resources"].items()
    }
    filled = _Filled(
        {**_PSEUDO, **given}, {name: bucket for name, bucket in names.items() if bucket}
    )
    return {
        name: filled.value(resource["Properties"])
        for name, resource in content["Resources"].items()
    }


class _Filled:
    def __init__(self, known: Mapping[str, str], buckets: Mapping[str, Any]) -> None:
        self.known, self.buckets = known, buckets

    def value(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.value(item) for item in node]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((function, argument),) = node.items()
            if function == "Ref":
                return self.named(argument)
            if function == "Fn::GetAtt":
                return self.named(".".join(argument))
            if function == "Fn::Sub":
                filled = re.sub(r"\$\{([^}]+)\}", lambda found: str(self.named(found[1])), argument)
                return json.loads(filled) if filled.lstrip().startswith("{") else filled
        return {name: self.value(item) for name, item in node.items()}

    def named(self, name: str) -> Any:
        logical, _, attribute = name.partition(".")
        if name in self.known:
            return self.known[name]
        if logical in self.buckets:
            bucket = self.value(self.buckets[logical])
            return f"arn:aws:s3:::{bucket}" if attribute == "Arn" else bucket
        return f"<{name}>"
