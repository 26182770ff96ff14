"""A small evaluator of AWS policies, for what our own templates use.

A policy that it cannot evaluate is an error, never a yes. The order is AWS's within one account: an
explicit deny of any policy wins, then any allow, else no.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Answer = Literal["allow", "deny", "no"]
"""`deny` by a statement; `no` because nothing allows."""


@dataclass(frozen=True)
class Request:
    """Who asks for what, and with which condition keys."""

    action: str
    resource: str = "*"
    principal: str = "arn:aws:iam::123456789012:role/any"
    context: Mapping[str, str] = field(default_factory=dict)


def evaluate(policies: Iterable[Mapping[str, Any]], request: Request) -> Answer:
    """Return the answer of identity and resource policies together."""
    effects = [
        statement["Effect"]
        for policy in policies
        for statement in _listed(policy["Statement"])
        if _applies(statement, request)
    ]
    return "deny" if "Deny" in effects else "allow" if "Allow" in effects else "no"


_KNOWN = {"Sid", "Effect", "Action", "Resource", "Principal", "Condition"}


def _applies(statement: Mapping[str, Any], request: Request) -> bool:
    if unknown := set(statement) - _KNOWN:
        raise NotImplementedError(f"this evaluator does not know {sorted(unknown)}")
    return (
        _matches(statement["Action"], request.action, ignoring_case=True)
        and _matches(statement.get("Resource", "*"), request.resource)
        and _is_of(statement.get("Principal", "*"), request.principal)
        and all(
            _holds(operator, keys, request.context)
            for operator, keys in statement.get("Condition", {}).items()
        )
    )


def _matches(patterns: str | Sequence[str], value: str, *, ignoring_case: bool = False) -> bool:
    flags = re.IGNORECASE if ignoring_case else 0
    shapes = (
        re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".") for pattern in _listed(patterns)
    )
    return any(re.fullmatch(shape, value, flags | re.DOTALL) for shape in shapes)


def _is_of(principal: str | Mapping[str, Any], who: str) -> bool:
    if principal == "*":
        return True
    assert isinstance(principal, Mapping)
    return any(who in _listed(named) for named in principal.values())


def _holds(operator: str, keys: Mapping[str, Any], context: Mapping[str, str]) -> bool:
    """All keys of an operator must hold; a key that the request lacks holds for none but Null."""
    found = {name.lower(): value for name, value in context.items()}
    if operator == "Null":
        return all(
            (name.lower() not in found) == (str(wanted).lower() == "true")
            for name, wanted in keys.items()
        )
    tests = {
        "StringEquals": lambda wanted, value: value in wanted,
        "StringLike": _matches,
        "Bool": lambda wanted, value: value.lower() in [str(one).lower() for one in wanted],
    }
    if operator not in tests:
        raise NotImplementedError(f"this evaluator does not know the condition {operator}")
    return all(
        name.lower() in found and tests[operator](_listed(wanted), found[name.lower()])
        for name, wanted in keys.items()
    )


def _listed(one_or_more: Any) -> list[Any]:
    return list(one_or_more) if isinstance(one_or_more, (list, tuple)) else [one_or_more]
