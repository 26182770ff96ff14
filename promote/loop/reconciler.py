"""One pass over one model: look, do the one next act, look again, until only waiting is left.

A pass may be killed anywhere and run twice.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import get_args

from promote.contract import Promotion, check_model
from promote.errors import ActNotSeen, InvalidImage, PromoteError, Unavailable, VersionNotFound
from promote.evidence.port import Judge
from promote.evidence.verdict_tag import tag_name
from promote.forge.port import StatusState
from promote.images.image import build_image
from promote.images.names import image_tag
from promote.loop.forge_observer import GATE_CONTEXT
from promote.loop.lifecycle import decide
from promote.loop.observation import SUPERSEDED, Blind, ForgeView, Look, Observation
from promote.loop.observer import Observer, Parts
from promote.loop.policy import read_policy
from promote.loop.proposal import Proposal, going_back, promotion
from promote.loop.standing import promotion_of
from promote.loop.step import Act, Step
from promote.loop.version_tags import Tags, outcome_tags, proposal_tags, service_tags
from promote.loop.way_back import close_superseded, open_proposal
from promote.release.history import (
    ROLLOUT_CONTEXT,
    ReleaseCommit,
    has_served,
    last_served,
    return_target,
)
from promote.release.history_reader import read_release
from promote.release.slot import release_path
from retrain.contract import digest_of_bytes

MOST_ACTS = 30
"""In one pass; a whole promotion takes about ten."""

_CLOSINGS = {
    "obsolete": "the way back is no longer needed",
    "stale": "it was judged against another release or by another policy than main's now",
    "closing": "a newer proposal took its place",
}

log = logging.getLogger("promote")


class Reconciler:
    """Drives every model of one environment; holds nothing that a restart would miss."""

    def __init__(self, parts: Parts, judge: Judge) -> None:
        self._parts, self._judge = parts, judge
        self.observer = Observer(parts)
        self._blind: dict[str, datetime] = {}
        self._acts: dict[Act, Callable[[Observation, Step], None]] = {
            "set champion": self._set_champion,
            "announce": self._announce,
            "record success": self._record_success,
            "record failure": self._record_failure,
            "close": self._close,
            "flag": self._flag,
            "label": self._label,
            "drop challenger": self._drop_challenger,
            "judge": self._keep_verdict,
            "build": self._build,
            "branch": self._branch,
            "open": self._open,
        }
        self._forge_acts: dict[Act, Callable[[ForgeView, Step], None]] = {
            "gate": self._gate,
            "open revert": self._open_revert,
        }

    def reconcile(
        self, model: str, tell: Callable[[Promotion], None] = lambda _: None
    ) -> Promotion:
        """Return where a model stands once there is only waiting left, or `MOST_ACTS` were done.

        Args:
            model: Its name.
            tell: Called with every state on the way.
        """
        self.observer.begin(check_model(model))
        before: Step | None = None
        for _ in range(MOST_ACTS):
            look = self.observer.look(model)
            step = decide(look)
            standing = self._standing(look, step)
            tell(standing)
            if step.act == "wait":
                return standing
            if step == before:
                return self._stuck(standing, ActNotSeen(f"{step.act} was done and is not seen yet"))
            try:
                self._act(look, step)
            except PromoteError as error:
                return self._stuck(standing, error)
            log.info(
                "model=%s state=%r act=%r version=%s pulls=%s",
                model,
                step.state,
                step.act,
                standing.version,
                [p.pull.number for p in step.pulls],
            )
            before = step
        return standing

    def preview(self, model: str) -> tuple[Promotion, Step]:
        """Return where a model stands and what would be done next, without doing it."""
        self.observer.begin(check_model(model))
        look = self.observer.look(model)
        step = decide(look)
        return self._standing(look, step), step

    def _act(self, look: Look, step: Step) -> None:
        """Do a step's act. After a blind look only acts that need the forge alone are decided."""
        view = look.forge if isinstance(look, Blind) else look
        if view and step.act in self._forge_acts:
            self._forge_acts[step.act](view, step)
        elif isinstance(look, Observation):
            self._acts[step.act](look, step)

    def _standing(self, look: Look, step: Step) -> Promotion:
        return promotion_of(look, step, since=self._blind_since(look, step))

    def _blind_since(self, look: Look, step: Step) -> datetime | None:
        """Return when this process first failed to look: nothing outside says it."""
        if step.state != "blind":
            self._blind.pop(look.model, None)
            return step.since
        return self._blind.setdefault(look.model, look.at)

    def _stuck(self, standing: Promotion, error: PromoteError) -> Promotion:
        log.warning("model=%s state=%r error=%s", standing.model, standing.state, error)
        is_outage = isinstance(error, Unavailable | ActNotSeen)
        return standing.model_copy(
            update={"waits_for": "outage" if is_outage else "person", "reason": str(error)}
        )

    def _set_champion(self, observation: Observation, _: Step) -> None:
        """Tags first: the alias is the commit point."""
        served = last_served(observation.history)
        if served and served.release:
            view = self.observer.forge.look(observation.model, is_complete=True)
            for number, tags in service_tags(view).items():
                with suppress(VersionNotFound):  # somebody deleted the version that served before
                    self._tag(observation.model, number, tags)
            self._parts.registry.set_champion(observation.model, served.release.version)

    def _tag(self, model: str, number: int, tags: Tags) -> None:
        for name, value in tags.items():
            self._parts.registry.tag(model, number, name, value)

    def _drop_challenger(self, observation: Observation, _: Step) -> None:
        self._parts.registry.drop_challenger(observation.model, _number(observation))

    def _announce(self, observation: Observation, _: Step) -> None:
        """Begin the time to become healthy, unless another replica has written a status by now."""
        if observation.release_commit:
            seconds = f"{observation.deadline.total_seconds():.0f} s"
            text = f"version {_version(observation.release_commit)} has {seconds} to become healthy"
            commit = observation.release_commit.commit
            unless = get_args(StatusState)
            self._parts.forge.set_status(commit, ROLLOUT_CONTEXT, "pending", text, unless=unless)

    def _record_success(self, observation: Observation, _: Step) -> None:
        reason = observation.rollout.reason if observation.rollout else ""
        text = f"version {_version(observation.release_commit)} is healthy: {reason}"
        self._record(observation, "success", text)

    def _record_failure(self, observation: Observation, _: Step) -> None:
        """A late failure must not hide how another replica saw the rollout end."""
        reason = observation.rollout.reason if observation.rollout else ""
        if not (observation.rollout and observation.rollout.state == "failed"):
            seconds = f"{observation.deadline.total_seconds():.0f} s"
            reason = f"not healthy {seconds} after it was first seen; {reason}"
        text = f"version {_version(observation.release_commit)} failed: {reason}"
        self._record(observation, "failure", text, unless=("success", "failure", "error"))

    def _record(
        self,
        observation: Observation,
        state: StatusState,
        text: str,
        *,
        unless: Collection[StatusState] = (),
    ) -> None:
        """Comment first, for people; the status is the commit point."""
        if observation.release_commit is None:
            return
        forge, commit = self._parts.forge, observation.release_commit.commit
        statuses = {status.context: status for status in forge.statuses(commit)}
        if ROLLOUT_CONTEXT in statuses and statuses[ROLLOUT_CONTEXT].state in unless:
            return
        for one in observation.pulls:
            if one.pull.merge_commit == commit:
                marker = f"rollout-{state}-{commit[:12]}"
                forge.comment(one.pull.number, marker, f"Rollout: {text}.")
        forge.set_status(commit, ROLLOUT_CONTEXT, state, text, unless=unless)

    def _open_revert(self, view: ForgeView, _: Step) -> None:
        target = return_target(view.history)
        if target:
            reason = (
                view.release_commit.rollout.description
                if view.release_commit and view.release_commit.rollout
                else "the rollout failed"
            )
            open_proposal(
                self._parts.forge, going_back(view, target, purpose="revert", reason=reason)
            )

    def _close(self, observation: Observation, step: Step) -> None:
        version = _version(observation.release_commit)
        now = f"main names {version} (commit {observation.base_commit or 'none'})"
        for one in step.pulls:
            close_superseded(self._parts.forge, one.pull.number, f"{_CLOSINGS[step.state]}; {now}")

    def _label(self, _: Observation, step: Step) -> None:
        for one in step.pulls:
            self._parts.forge.add_label(one.pull.number, SUPERSEDED)

    def _flag(self, _: Observation, step: Step) -> None:
        for one in step.pulls:
            self._parts.forge.set_status(
                one.pull.head,
                GATE_CONTEXT,
                "failure",
                "not what promote proposed; restore the branch or close the pull request",
            )

    def _gate(self, view: ForgeView, step: Step) -> None:
        """Tags first: the status is the commit point. A way back needs the forge only."""
        for one in step.pulls:
            content = self._parts.forge.read_file(release_path(view.slot), one.pull.head)
            release = read_release(content, view.model)
            if release and not one.is_return:
                self._tag(view.model, release.version, proposal_tags(one.pull, release))
            what = (
                "judged and built by promote"
                if one.branch.purpose == "promotion"
                else "was released before, and served"
            )
            self._parts.forge.set_status(
                one.pull.head,
                GATE_CONTEXT,
                "success",
                f"version {one.branch.version}: {what}",
            )

    def _keep_verdict(self, observation: Observation, _: Step) -> None:
        """Evidence to the run first; the tag with the digest is the commit point."""
        challenger = self._parts.registry.version(observation.model, _number(observation))
        champion = observation.release_commit.release if observation.release_commit else None
        spec = read_policy(self._parts.forge, observation.model, observation.main)
        judged = self._judge(
            challenger, champion, spec.gate, had_release=has_served(observation.history)
        )
        self._tag(observation.model, challenger.version, outcome_tags(judged.verdict))
        tag = tag_name(challenger, champion, spec.gate.policy_digest)
        self.observer.verdicts.keep(challenger, tag, judged, self._parts.clock())

    def _build(self, observation: Observation, _: Step) -> None:
        challenger = self._parts.registry.version(observation.model, _number(observation))
        with tempfile.TemporaryDirectory(prefix="ratchet-build-") as folder:
            files = self._parts.registry.download_model_folder(challenger, Path(folder))
        if (found := digest_of_bytes(files["model.json"])) != challenger.model_digest:
            raise InvalidImage(
                f"model.json of version {challenger.version} of {observation.model} is {found}, "
                f"judged was {challenger.model_digest}. Retrain."
            )
        image = build_image(files, base=self._parts.images.base_image())
        self._parts.images.push(
            self._parts.repository(observation.model),
            image,
            tag=image_tag(challenger.version, challenger.model_digest),
        )

    def _branch(self, observation: Observation, _: Step) -> None:
        self._parts.forge.create_branch(self._promotion(observation).branch)

    def _open(self, observation: Observation, _: Step) -> None:
        proposal = self._promotion(observation)
        self._parts.forge.refresh()
        if self._parts.forge.pull_requests(proposal.branch.name):
            return  # another replica opened it meanwhile: a forge has no compare-and-set
        self._parts.forge.open_pull_request(proposal.branch.name, proposal.title, proposal.body)

    def _promotion(self, observation: Observation) -> Proposal:
        challenger = self._parts.registry.version(observation.model, _number(observation))
        seen = observation.challenger
        if seen is None or seen.judged is None or seen.image is None:
            raise ActNotSeen("the verdict or the image is gone since it was seen")
        spec = read_policy(self._parts.forge, observation.model, observation.main)
        return promotion(
            observation,
            challenger,
            seen.judged.verdict,
            seen.image,
            registry=self._parts.registry,
            spec=spec,
        )


def _number(observation: Observation) -> int:
    if observation.challenger is None:
        raise ActNotSeen("the challenger is gone since it was seen")
    return observation.challenger.version


def _version(commit: ReleaseCommit | None) -> str:
    return str(commit.release.version) if commit and commit.release else "no release"
