"""Tags on a registered version, for people who filter versions in MLflow. Pure.

promote decides nothing by these tags. A tag of None is removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile

from promote.contract import Release, Verdict
from promote.forge.port import PullRequest
from promote.loop.observation import ForgeView
from promote.release.history import ReleaseCommit
from retrain.contract import utc_text

Tags = Mapping[str, str | None]


def outcome_tags(verdict: Verdict) -> Tags:
    """Return the outcome, and the version that the challenger was compared with."""
    over = "none" if verdict.champion is None else str(verdict.champion)
    return {"verdict": verdict.outcome, "verdict_over": over}


def proposal_tags(pull: PullRequest, release: Release) -> Tags:
    """Return the pull request that proposes a version, and the version's image."""
    return {"pull_request": pull.url, "image": release.image}


def service_tags(view: ForgeView) -> dict[int, Tags]:
    """Return the tags of the version that serves, and of the version that served before it.

    Both servings are counted from the status `ratchet/rollout` that says success.
    """
    served = [
        (commit.release.version, commit.rollout.at, commit)
        for commit in view.history
        if commit.served and commit.release and commit.rollout
    ]
    if not served:
        return {}
    version = served[0][0]
    _, start, commit = list(takewhile(lambda one: one[0] == version, served))[-1]
    earlier = [number for number, _, _ in served if number != version]
    tags: dict[int, Tags] = {
        version: {"served_from": utc_text(start), "served_until": None, "left_because": None}
    }
    if earlier:
        reason = _reason(view, commit, version)
        tags[earlier[0]] = {"served_until": utc_text(start), "left_because": reason}
    return tags


def _reason(view: ForgeView, commit: ReleaseCommit, version: int) -> str:
    for one in view.pulls:
        if one.pull.merge_commit == commit.commit:
            verb = (
                "replaced by" if one.branch.purpose == "promotion" else f"{one.branch.purpose} to"
            )
            return f"{verb} version {version}: {one.pull.url}"
    return f"main named version {version} in commit {commit.commit[:12]}"
