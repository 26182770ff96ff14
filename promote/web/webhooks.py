"""GitHub's webhooks: whether one is signed, and which models it names. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from typing import Any

from retrain.contract import MODEL_NAME

_BRANCH = re.compile(rf"(?:refs/heads/)?ratchet/({MODEL_NAME})/.+")
_FILE = re.compile(rf"(?:gitops/models/({MODEL_NAME})/.+|dags/models/({MODEL_NAME})[./].*)")


def is_signed(body: bytes, signature: str, secret: str) -> bool:
    """Return whether the header `X-Hub-Signature-256` signs a body. Compared in constant time."""
    expected = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.encode())


def models_of(body: bytes) -> set[str]:
    """Return the models that a push or a pull request names; none for any other event.

    >>> sorted(models_of(b'{"ref": "refs/heads/ratchet/m/production/v8-first", "commits": []}'))
    ['m']
    >>> models_of(b'{"zen": "Keep it logically awesome."}')
    set()
    """
    try:
        event = json.loads(body)
    except ValueError:
        return set()
    if not isinstance(event, dict):
        return set()
    names = [_BRANCH.fullmatch(str(name)) for name in (event.get("ref"), _head(event))]
    names += [_FILE.fullmatch(path) for path in _paths(event)]
    return {match[1] or match[2] for match in names if match and match.lastindex}


def _head(event: dict[str, Any]) -> str:
    head = _inner(_inner(event, "pull_request"), "head")
    return str(head.get("ref", ""))


def _inner(value: dict[str, Any], name: str) -> dict[str, Any]:
    inner = value.get(name)
    return inner if isinstance(inner, dict) else {}


def _paths(event: dict[str, Any]) -> list[str]:
    commits = event.get("commits")
    return [
        str(path)
        for commit in (commits if isinstance(commits, list) else [])
        if isinstance(commit, dict)
        for kind in ("added", "removed", "modified")
        for path in commit.get(kind) or []
    ]
