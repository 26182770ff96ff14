"""States that the forge alone decides: a way back works while every other part is away. Pure."""

from __future__ import annotations

from datetime import datetime

from promote.cluster.port import RolloutStatus
from promote.loop.observation import ForgeView
from promote.loop.step import Step, step_about

UNGATED = "{} waits for the status ratchet/gate, which promote sets next."


def return_ungated(view: ForgeView) -> Step | None:
    """A way back is open without its status. A person must be able to merge it at once."""
    pulls = [
        one for one in view.open if one.is_return and one.as_proposed and one.gate != "success"
    ]
    return step_about(pulls, "return ungated", "gate", UNGATED)


def failed(view: ForgeView, rollout: RolloutStatus | None) -> Step | None:
    """A status says that the rollout failed, and no way back was proposed yet.

    Args:
        view: What the forge says.
        rollout: What the cluster says; None when it did not answer, which changes nothing.
    """
    is_healthy = rollout is not None and rollout.state == "healthy"
    if not view.needs_way_back or is_healthy or view.ways_back:
        return None
    reason = "The rollout failed. Promote opens the pull request that goes back."
    return Step("failed", "open revert", "promote", reason, rollout_at(view))


def rollout_at(view: ForgeView) -> datetime | None:
    """Return when the newest rollout status of main's release was set."""
    commit = view.release_commit
    return commit.rollout.at if commit and commit.rollout else None
