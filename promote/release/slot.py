"""Where a slot (a model in an environment) is written in git: its files and its branches. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from promote.contract import Purpose, Slot

_BRANCH = re.compile(
    r"(?:(rollback|revert)-to-)?v([1-9]\d*)-(?:over-([0-9a-f]{12})|first)(?:-by-([0-9a-f]{8}))?"
)


def release_path(slot: Slot) -> str:
    """Return the path of release.yaml, which says which release runs in the slot.

    >>> release_path(Slot("flight-delay", "production"))
    'gitops/models/flight-delay/production/release.yaml'
    """
    return f"gitops/models/{slot.model}/{slot.environment}/release.yaml"


def branch_prefix(slot: Slot) -> str:
    """Return how the name of every branch of the slot begins."""
    return f"ratchet/{slot.model}/{slot.environment}/"


def short_policy(policy_digest: str) -> str:
    """Return a policy's digest as branches write it: its first 8 digits."""
    return policy_digest.removeprefix("sha256:")[:8]


@dataclass(frozen=True)
class BranchName:
    """The purpose of a branch of promote's.

    A branch is written once. All that decides its bytes stands in its name.
    """

    purpose: Purpose
    version: int
    base_commit: str | None
    """The commit whose release the proposal replaces; None for a first release.

    `parse_branch` returns its first 12 digits.
    """
    policy: str | None = None
    """See `short_policy`; None for a way back, and in branches of early versions of promote."""

    def text(self, slot: Slot) -> str:
        """Return the whole name.

        >>> branch = BranchName("promotion", 9, "0123456789abcdef", "76543210")
        >>> branch.text(Slot("flight-delay", "production"))
        'ratchet/flight-delay/production/v9-over-0123456789ab-by-76543210'
        """
        verb = "" if self.purpose == "promotion" else f"{self.purpose}-to-"
        over = f"over-{self.base_commit[:12]}" if self.base_commit else "first"
        policy = f"-by-{self.policy}" if self.policy else ""
        return f"{branch_prefix(slot)}{verb}v{self.version}-{over}{policy}"


def parse_branch(name: str, slot: Slot) -> BranchName | None:
    """Return the purpose of a branch; None when promote gives no such name.

    >>> name = "ratchet/m/production/rollback-to-v7-over-0123456789ab"
    >>> parse_branch(name, Slot("m", "production"))
    BranchName(purpose='rollback', version=7, base_commit='0123456789ab', policy=None)
    """
    prefix = branch_prefix(slot)
    match = _BRANCH.fullmatch(name.removeprefix(prefix))
    if match is None or not name.startswith(prefix):
        return None
    purposes: dict[str | None, Purpose] = {"rollback": "rollback", "revert": "revert"}
    return BranchName(purposes.get(match[1], "promotion"), int(match[2]), match[3], match[4])
