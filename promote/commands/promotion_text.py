"""A promotion in words for the terminal: one line, or a paragraph with addresses."""

from __future__ import annotations

from datetime import datetime

from promote.contract import OpenPullRequest, Promotion, Serving

_WHO = {
    "promote": "promote",
    "rollout": "the rollout",
    "outage": "an answer",
    "reviewer": "a reviewer",
    "person": "a person",
}

_OF_A_CHALLENGER = {
    "had its turn",
    "proposed",
    "rejected",
    "unjudged",
    "kept",
    "inconclusive",
    "unbuilt",
    "unbranched",
    "unopened",
}
"""States of the challenger. The others are states of main's release or of a pull request."""


def line(promotion: Promotion) -> str:
    """Return a promotion in one line."""
    version = f" v{promotion.version}" if promotion.version else ""
    pull = f", pull request {promotion.pull_request}" if promotion.pull_request else ""
    waits = f"waits for {_WHO[promotion.waits_for]}" if promotion.waits_for else "done"
    where = f"{promotion.model}{version} in {promotion.environment}"
    return f"{where}: {promotion.state}{pull}; {waits}. {promotion.reason}"


def paragraph(promotion: Promotion) -> str:
    """Return what serves, what is open and who is waited for, with addresses."""
    since = f" since {_minute(promotion.since)}" if promotion.since else ""
    is_of_challenger = promotion.version and promotion.state in _OF_A_CHALLENGER
    version = f"v{promotion.version} " if is_of_challenger else ""
    waits_for = _WHO[promotion.waits_for] if promotion.waits_for else "nothing"
    return "\n".join(
        [
            f"{promotion.model} in {promotion.environment}",
            f"  serving   {_serving(promotion.serving)}",
            *(f"  open      {_open(one)}" for one in promotion.open),
            f"  state     {version}{promotion.state}{since}. {promotion.reason}",
            f"  waits for {waits_for}",
        ]
    )


def _serving(serving: Serving | None) -> str:
    if serving is None:
        return "nothing that promote has seen healthy"
    by_pull = f"by pull request {serving.pull_request}: {serving.url}"
    how = by_pull if serving.url else "by a push to main"
    return f"v{serving.version} since {_minute(serving.since)} {how}"


def _open(one: OpenPullRequest) -> str:
    goal = f"v{one.version}" if one.purpose == "promotion" else f"{one.purpose} to v{one.version}"
    return f"pull request {one.number}, {goal}, since {_minute(one.since)}: {one.url}"


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
