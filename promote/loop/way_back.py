"""A rollback that a person asks for. It needs the forge alone."""

from __future__ import annotations

from dataclasses import dataclass

from promote.contract import check_model
from promote.errors import ForgeRefused, NothingToReturnTo
from promote.forge.port import Forge, PullRequest
from promote.loop.forge_observer import ForgeObserver
from promote.loop.observation import SUPERSEDED, ForgeView, ProposedPull
from promote.loop.proposal import Proposal, going_back
from promote.release.history import ReleaseCommit, return_target
from retrain.contract import digest_of_bytes


@dataclass(frozen=True)
class AskedRollback:
    """The pull request that goes back, and what became of the request."""

    pull: PullRequest
    is_new: bool
    replaced: tuple[int, ...]
    """Numbers of the pull requests that were closed because they went to another version."""


def roll_back(
    forge: Forge, environment: str, model: str, *, reason: str, version: int | None = None
) -> AskedRollback:
    """Open the pull request to an earlier release that served, or return the open one.

    A second call with another reason adds the reason as a comment. Open ways back to another
    version, or from another release, are closed.

    Args:
        forge: The only part that is needed.
        environment: Such as `production`.
        model: Its name.
        reason: A person's, for the reviewer.
        version: Where to go. Without it: where an open rollback goes, else the newest release
            that served and was not left by an earlier way back.

    Raises:
        Unavailable: The forge did not answer.
        Refused: The forge refused the token or the request.
        NothingToReturnTo: No release that served fits.
    """
    forge.refresh()
    view = ForgeObserver(forge, environment).look(check_model(model), is_complete=True)
    target = _target(view, version)
    proposal = going_back(view, target, purpose="rollback", reason=reason)
    ways_back = [one for one in view.open if one.is_return]
    same = [one for one in ways_back if _goes_to(view, one, target)]
    _refuse_edited(proposal, [one for one in ways_back if one not in same])
    pull = same[0].pull if same else open_proposal(forge, proposal)
    if same:
        marker = f"reason-{digest_of_bytes(reason.encode())[7:19]}"
        text = f"This rollback was asked for again. **Reason**: {reason}"
        forge.comment(pull.number, marker, text)
    others = [one.pull.number for one in ways_back if one not in same[:1]]
    for number in others:
        why = f"#{pull.number} goes back to v{_version(target)} instead: {reason}"
        close_superseded(forge, number, why)
    return AskedRollback(pull, not same, tuple(others))


def open_proposal(forge: Forge, proposal: Proposal) -> PullRequest:
    """Write a proposal's branch and open its pull request. The second time nothing changes."""
    forge.create_branch(proposal.branch)
    return forge.open_pull_request(proposal.branch.name, proposal.title, proposal.body)


def close_superseded(forge: Forge, number: int, why: str) -> None:
    """Close a pull request of promote's.

    The label comes first, because a closing without the label counts as a person's.
    """
    forge.add_label(number, SUPERSEDED)
    forge.comment(number, "superseded", f"Closed by promote: {why}. Nothing to do.")
    forge.close(number)


def _target(view: ForgeView, version: int | None) -> ReleaseCommit:
    asked = [one for one in view.ways_back if one.is_open and one.branch.purpose == "rollback"]
    wanted = version or (asked[0].branch.version if asked else None)
    target = return_target(view.history, version=wanted)
    if target is not None:
        return target
    now = view.release.version if view.release else "no release"
    served = sorted({one.release.version for one in view.history if one.served and one.release})
    place = f"version {version}" if version else "an earlier release"
    raise NothingToReturnTo(
        f"Asked to go back to {place} of {view.model}. Main names {now}. These versions served: "
        f"{served or 'none'}. Versions that a rollback or a revert left are not chosen "
        "automatically. Name one with --to."
    )


def _goes_to(view: ForgeView, one: ProposedPull, target: ReleaseCommit) -> bool:
    is_there = one in view.ways_back and one.branch.version == _version(target)
    return is_there and bool(one.as_proposed)


def _refuse_edited(proposal: Proposal, others: list[ProposedPull]) -> None:
    name = proposal.branch.name
    for one in others:
        if one.pull.branch == name:
            raise ForgeRefused(
                f"Asked to open a pull request from {name}. Pull request {one.pull.number} is open "
                "from that branch, and somebody changed the branch. Close the pull request, delete "
                "the branch and ask again."
            )


def _version(commit: ReleaseCommit) -> int:
    return commit.release.version if commit.release else 0
