"""One pass over one model: look, do the one next act, look again, until only waiting is left. Killed anywhere or run twice, it converges."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from promote.contract import Promotion
from promote.errors import ActNotSeen, InvalidImage, NothingToReturnTo, PromoteError, Unavailable
from promote.forge import PullRequest
from promote.history import ROLLOUT_CONTEXT, Named, last_served
from promote.image import build_image
from promote.image_name import image_tag
from promote.judging import Judge
from promote.lifecycle import SUPERSEDED, Act, Observation, Step, decide, return_target
from promote.observing import GATE_CONTEXT, Observer, Parts, verdict_key
from promote.policy import read_policy
from promote.proposing import Proposal, going_back, promotion
from promote.release import check_model, evidence_name, verdict_digest
from retrain.contract import digest_of_bytes, utc_text

MOST_ACTS = 30
"""In one pass; a whole promotion takes about ten."""

log = logging.getLogger("promote")


class Reconciler:
    """Drives every model of one environment; holds nothing that a restart would miss."""

    def __init__(self, parts: Parts, judge: Judge) -> None:
        self._parts, self._judge = parts, judge
        self.observer = Observer(parts)
        self._since: dict[str, tuple[str, int | None, datetime]] = {}
        self._acts: dict[Act, Callable[[Observation, Step], None]] = {
            "set champion": self._set_champion,
            "record success": self._record_success,
            "record failure": self._record_failure,
            "open revert": self._open_revert,
            "close": self._close,
            "flag": self._flag,
            "label": self._label,
            "gate": self._gate,
            "judge": self._keep_verdict,
            "build": self._build,
            "branch": self._branch,
            "open": self._open,
        }

    def reconcile(self, model: str, tell: Callable[[Promotion], None] = lambda _: None) -> Promotion:
        """Return where a model stands once there is only waiting left, or `MOST_ACTS` were done.

        Args:
            model: Its name.
            tell: Called with every state on the way.
        """
        check_model(model)
        before: Step | None = None
        for _ in range(MOST_ACTS):
            seen = self.observer.look(model)
            step = decide(seen)
            standing = self._standing(seen, step)
            tell(standing)
            if step.act == "wait":
                return standing
            if step == before:
                return self._stuck(standing, ActNotSeen(f"{step.act} was done and is not seen yet"))
            try:
                self._acts[step.act](seen, step)
            except PromoteError as error:
                return self._stuck(standing, error)
            log.info("model=%s state=%r act=%r version=%s pulls=%s", model, step.state, step.act, standing.version, [p.pull.number for p in step.pulls])
            before = step
        return standing

    def preview(self, model: str) -> tuple[Promotion, Step]:
        """Return where a model stands and what would be done next, without doing it."""
        seen = self.observer.look(check_model(model))
        step = decide(seen)
        return self._standing(seen, step), step

    def roll_back(self, model: str, *, reason: str, version: int | None = None) -> PullRequest:
        """Open the pull request to an earlier release that served; asked again, the same one is returned.

        Args:
            model: Its name.
            reason: A person's, for the reviewer.
            version: Where to; the last that served other bytes than main names if None.

        Raises:
            Unavailable: Something did not answer.
            NothingToReturnTo: No release that served fits.
        """
        seen = self.observer.look(check_model(model))
        if seen.failures:
            raise Unavailable("; ".join(seen.failures))
        target = return_target(seen.history, version=version)
        if target is None:
            served = sorted({named.release.version for named in seen.history if named.served and named.release})
            wanted = f"version {version}" if version else "an earlier release"
            raise NothingToReturnTo(
                f"asked to go back to {wanted} of {model}; main names {_version(seen.named)}, and these versions ever served: {served or 'none'}. "
                "Name another with --to."
            )
        return self._propose(going_back(seen, target, purpose="rollback", reason=reason))

    def _standing(self, seen: Observation, step: Step) -> Promotion:
        version = seen.challenger.version if seen.challenger else None
        state, since_version, since = self._since.get(seen.model, ("", None, seen.at))
        if (state, since_version) != (step.state, version) and not (seen.failures and state == step.state):
            since = seen.at
        self._since[seen.model] = (step.state, version, since)
        was_named = any(named.release and named.release.version == version for named in seen.history)
        return Promotion(
            model=seen.model,
            environment=seen.environment,
            version=version,
            state=step.state,
            waiting_for=step.waiting_for,
            since=since,
            pull_request=_pull_number(seen, version),
            verdict=seen.verdict.outcome if seen.verdict else "promote" if was_named else None,
        )

    def _stuck(self, standing: Promotion, error: PromoteError) -> Promotion:
        log.warning("model=%s state=%r error=%s", standing.model, standing.state, error)
        who = "an answer" if isinstance(error, Unavailable | ActNotSeen) else "a person"
        return standing.model_copy(update={"waiting_for": f"{who}: {error}"})

    def _set_champion(self, seen: Observation, _: Step) -> None:
        served = last_served(seen.history)
        if served and served.release:
            self._parts.registry.set_champion(seen.model, served.release.version)

    def _record_success(self, seen: Observation, _: Step) -> None:
        self._record(seen, "success", f"version {_version(seen.named)} is healthy: {seen.rollout.reason if seen.rollout else ''}")

    def _record_failure(self, seen: Observation, _: Step) -> None:
        reason = seen.rollout.reason if seen.rollout else ""
        late = "" if seen.rollout and seen.rollout.state == "failed" else f"not healthy {seen.deadline.total_seconds():.0f} s after its commit; "
        self._record(seen, "failure", f"version {_version(seen.named)} failed: {late}{reason}")

    def _record(self, seen: Observation, state: str, text: str) -> None:
        """Comment first, for people; the status is the commit point."""
        if seen.named is None:
            return
        if state == "failure" and any(status.context == ROLLOUT_CONTEXT for status in self._parts.forge.statuses(seen.named.commit)):
            return  # another replica saw how it ended; a late failure must not hide a success
        for observed in seen.pulls:
            if observed.pull.merge_commit == seen.named.commit:
                self._parts.forge.comment(observed.pull.number, f"rollout-{state}-{seen.named.commit[:12]}", f"Rollout: {text}.")
        self._parts.forge.set_status(seen.named.commit, ROLLOUT_CONTEXT, "success" if state == "success" else "failure", text)

    def _open_revert(self, seen: Observation, _: Step) -> None:
        target = return_target(seen.history)
        if target:
            reason = seen.named.rollout.description if seen.named and seen.named.rollout else "the rollout failed"
            self._propose(going_back(seen, target, purpose="revert", reason=reason))

    def _close(self, seen: Observation, step: Step) -> None:
        """Label first: an unlabelled closing is a person's word."""
        for observed in step.pulls:
            number, now = observed.pull.number, f"main names {_version(seen.named)} (commit {seen.over or 'none'})"
            if SUPERSEDED not in observed.pull.labels:
                self._parts.forge.add_label(number, SUPERSEDED)
            self._parts.forge.comment(number, "superseded", f"Closed by promote ({step.state}): {now}, or a newer proposal took its place. Nothing to do.")
            self._parts.forge.close(number)

    def _label(self, _: Observation, step: Step) -> None:
        for observed in step.pulls:
            self._parts.forge.add_label(observed.pull.number, SUPERSEDED)

    def _flag(self, _: Observation, step: Step) -> None:
        for observed in step.pulls:
            self._parts.forge.set_status(observed.pull.head, GATE_CONTEXT, "failure", "not what promote proposed; restore the branch or close the pull request")

    def _gate(self, _: Observation, step: Step) -> None:
        for observed in step.pulls:
            what = "judged and built by promote" if observed.branch.purpose == "promotion" else "was released before, and served"
            self._parts.forge.set_status(observed.pull.head, GATE_CONTEXT, "success", f"version {observed.branch.version}: {what}")

    def _keep_verdict(self, seen: Observation, _: Step) -> None:
        """Evidence to the run first; the tag with the digest is the commit point."""
        challenger = self._parts.registry.version(seen.model, _number(seen))
        champion = seen.named.release if seen.named else None
        spec = read_policy(self._parts.forge, seen.model, seen.main)
        judged = self._judge(challenger, champion, spec.gate, had_release=bool(seen.history))
        digest, why = verdict_digest(judged.verdict), judged.verdict.reasons[0].sentence if judged.verdict.reasons else ""
        self._parts.registry.log_metrics(challenger, judged.figures)
        self._parts.registry.log_evidence(challenger, evidence_name(digest), judged.files)
        value = {"digest": digest, "outcome": judged.verdict.outcome, "sentence": why[:1000], "at": utc_text(self._parts.clock())}
        self._parts.registry.tag(seen.model, challenger.version, verdict_key(challenger, champion, spec), json.dumps(value, sort_keys=True))

    def _build(self, seen: Observation, _: Step) -> None:
        challenger = self._parts.registry.version(seen.model, _number(seen))
        with tempfile.TemporaryDirectory(prefix="ratchet-build-") as folder:
            files = self._parts.registry.download_model_folder(challenger, Path(folder))
        if (found := digest_of_bytes(files["model.json"])) != challenger.tags.get("model_digest"):
            raise InvalidImage(
                f"model.json of version {challenger.version} of {seen.model} is {found}, judged was {challenger.tags.get('model_digest')}. Retrain."
            )
        image = build_image(files, base=self._parts.images.base_image())
        self._parts.images.push(self._parts.repository(seen.model), image, tag=image_tag(challenger.version, challenger.tags.get("model_digest", "")))

    def _branch(self, seen: Observation, _: Step) -> None:
        self._parts.forge.create_branch(self._promotion(seen).branch)

    def _open(self, seen: Observation, _: Step) -> None:
        proposal = self._promotion(seen)
        if self._parts.forge.pull_requests(proposal.branch.name):
            return  # another replica opened it meanwhile, and perhaps a person closed or merged it already; a forge has no compare-and-set
        self._parts.forge.open_pull_request(proposal.branch.name, proposal.title, proposal.body)

    def _promotion(self, seen: Observation) -> Proposal:
        challenger = self._parts.registry.version(seen.model, _number(seen))
        if seen.verdict is None or seen.image is None:
            raise ActNotSeen("the verdict or the image is gone since it was seen")
        spec = read_policy(self._parts.forge, seen.model, seen.main)
        return promotion(seen, challenger, seen.verdict, seen.image, registry=self._parts.registry, spec=spec)

    def _propose(self, proposal: Proposal) -> PullRequest:
        self._parts.forge.create_branch(proposal.branch)
        return self._parts.forge.open_pull_request(proposal.branch.name, proposal.title, proposal.body)


def _number(seen: Observation) -> int:
    if seen.challenger is None:
        raise ActNotSeen("the challenger is gone since it was seen")
    return seen.challenger.version


def _version(named: Named | None) -> str:
    return str(named.release.version) if named and named.release else "no release"


def _pull_number(seen: Observation, version: int | None) -> int | None:
    """Return the pull request of the challenger: the open one, else the newest."""
    theirs = [observed for observed in seen.pulls if observed.branch.purpose == "promotion" and observed.branch.version == version]
    return next((observed.pull.number for observed in (*(one for one in theirs if one.is_open), *theirs)), None)
