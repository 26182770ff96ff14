"""A rollback that a person asks for. Needs the forge alone: MLflow, images and cluster may be away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from promote.errors import ForgeRefused, NothingToReturnTo, Refused, Unavailable
from promote.forge.port import Forge, PullRequest
from promote.loop.lifecycle import SUPERSEDED, Observation, ProposedPull
from promote.loop.observer import ForgeObserver
from promote.loop.proposal import Proposal, going_back
from promote.release.history import ReleaseCommit, return_target
from promote.release.manifest import check_model
from retrain.contract import digest_of_bytes


@dataclass(frozen=True)
class AskedRollback:
    """The pull request that goes back, and what became of the request."""

    pull: PullRequest
    is_new: bool
    replaced: tuple[int, ...]
    """Pull requests that were closed because they went elsewhere."""


class WayBack:
    """Opens the one pull request that goes back, and closes the others."""

    def __init__(self, forge: Forge, environment: str, clock: Callable[[], datetime]) -> None:
        self._forge, self._clock = forge, clock
        self._observer = ForgeObserver(forge, environment)

    def roll_back(self, model: str, *, reason: str, version: int | None = None) -> AskedRollback:
        """Open the pull request to an earlier release that served, or name the one that is open.

        Asked again with another reason, the reason becomes a comment. An open way back to another
        version, or from another release, is closed.

        Args:
            model: Its name.
            reason: A person's, for the reviewer.
            version: Where to go. Without it: where an open rollback goes, else the newest release
                that served and was not left by an earlier way back.

        Raises:
            Unavailable: The forge did not answer.
            Refused: The forge refused the token or the request.
            NothingToReturnTo: No release that served fits.
        """
        observation = self._observer.look(check_model(model), self._clock())
        if observation.forge_failure:
            kind = Unavailable if observation.forge_failure.is_outage else Refused
            raise kind(observation.forge_failure.sentence)
        target = self._target(observation, version)
        proposal = going_back(observation, target, purpose="rollback", reason=reason)
        same = [one for one in _ways_back(observation) if self._is_same(observation, one, target)]
        if edited := [
            one.pull
            for one in _ways_back(observation)
            if one.pull.branch == proposal.branch.name and one not in same
        ]:
            raise ForgeRefused(
                f"Asked to open a pull request from {edited[0].branch}. Pull request {edited[0].number} is open from that "
                "branch, and somebody changed the branch. Close the pull request, delete the branch and ask again."
            )
        others = [one.pull.number for one in _ways_back(observation) if one not in same[:1]]
        pull = self._named(same[0], reason) if same else open_proposal(self._forge, proposal)
        for number in others:
            close_superseded(
                self._forge,
                number,
                f"#{pull.number} goes back to v{_number(target)} instead: {reason}",
            )
        return AskedRollback(pull, not same, tuple(others))

    def _target(self, observation: Observation, version: int | None) -> ReleaseCommit:
        asked = [
            one
            for one in _ways_back(observation)
            if one.branch.base_commit == observation.base_commit
        ]
        wanted = version or next(
            (one.branch.version for one in asked if one.branch.purpose == "rollback"), None
        )
        target = return_target(observation.history, version=wanted)
        if target is not None:
            return target
        version_now = observation.release.version if observation.release else "no release"
        served = sorted(
            {one.release.version for one in observation.history if one.served and one.release}
        )
        place = f"version {version}" if version else "an earlier release"
        raise NothingToReturnTo(
            f"Asked to go back to {place} of {observation.model}. Main names {version_now}. These versions served: "
            f"{served or 'none'}. Those that a rollback or a revert left are not chosen by themselves. "
            "Name one with --to."
        )

    def _is_same(self, observation: Observation, one: ProposedPull, target: ReleaseCommit) -> bool:
        return (
            one.branch.base_commit == observation.base_commit
            and one.branch.version == _number(target)
            and one.as_proposed
        )

    def _named(self, one: ProposedPull, reason: str) -> PullRequest:
        """Return the open pull request; a reason that it does not have yet becomes a comment."""
        marker = f"reason-{digest_of_bytes(reason.encode())[7:19]}"
        self._forge.comment(
            one.pull.number, marker, f"This rollback was asked for again. **Reason**: {reason}"
        )
        return one.pull


def open_proposal(forge: Forge, proposal: Proposal) -> PullRequest:
    """Write a proposal's branch, then open its pull request; both are there already the second time."""
    forge.create_branch(proposal.branch)
    return forge.open_pull_request(proposal.branch.name, proposal.title, proposal.body)


def close_superseded(forge: Forge, number: int, why: str) -> None:
    """Close a pull request of ours. The label comes first: a closing without it is a person's word."""
    forge.add_label(number, SUPERSEDED)
    forge.comment(number, "superseded", f"Closed by promote: {why}. Nothing to do.")
    forge.close(number)


def _ways_back(observation: Observation) -> list[ProposedPull]:
    return [one for one in observation.open if one.is_return]


def _number(commit: ReleaseCommit) -> int:
    return commit.release.version if commit.release else 0
