"""What the ruleset of main requires of a merge. Production gives the same file to GitHub. Pure.

GitHub also asks code owners. This forge has one person, who stands for all of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from infra.local.forge.store import Pull, Review, Status

PROTECTED = "refs/heads/main"
ONLY_BY_PULL_REQUEST = (
    "Repository rule violations found\n\nChanges must be made through a pull request."
)
UPDATE_HOOK = f"""#!/bin/sh
# git runs this before a push moves a branch: $1 is its full name
[ "$1" != {PROTECTED} ] && exit 0
echo "Repository rule violations found for $1: changes must be made through a pull request." >&2
exit 1
"""


@dataclass(frozen=True)
class Ruleset:
    """What a merge into main needs."""

    approvals: int
    """Reviews of the newest commit by people other than the author."""
    contexts: tuple[str, ...]
    """Statuses that must be `success`."""

    def missing(
        self, pull: Pull, reviews: Iterable[Review], statuses: Iterable[Status]
    ) -> list[str]:
        """Return what a pull request still needs, in GitHub's words; nothing when it may merge.

        Args:
            pull: To be merged.
            reviews: Of this pull request.
            statuses: Of its newest commit, oldest first.
        """
        states = {status.context: status.state for status in statuses}
        missing = [
            f'Required status check "{context}" is expected.'
            for context in self.contexts
            if states.get(context) != "success"
        ]
        current = (review for review in reviews if review.sha == pull.head_sha)
        approvers = {review.author for review in current} - {pull.author}
        if len(approvers) < self.approvals:
            reviews_are = "review is" if self.approvals == 1 else "reviews are"
            missing.append(
                f"At least {self.approvals} approving {reviews_are} required by reviewers"
                " with write access."
            )
        return missing


def parse_ruleset(text: str) -> Ruleset:
    """Return what the JSON of a GitHub ruleset requires of a merge.

    >>> parse_ruleset('{"rules": [{"type": "deletion"}]}')
    Ruleset(approvals=0, contexts=())
    """
    parameters = {rule["type"]: rule.get("parameters", {}) for rule in json.loads(text)["rules"]}
    checks = parameters.get("required_status_checks", {}).get("required_status_checks", [])
    reviews = parameters.get("pull_request", {})
    return Ruleset(
        approvals=int(reviews.get("required_approving_review_count", 0)),
        contexts=tuple(check["context"] for check in checks),
    )
