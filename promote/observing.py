"""One look at everything around one model. What failed to answer makes the look blind; nothing is ever taken for absent because of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import ValidationError

from promote.contract import Release, Verdict
from promote.errors import ArtifactNotFound, InvalidArtifact, NoPolicy, PromoteError, VersionNotFound
from promote.forge import Forge, PullRequest
from promote.history import History, Named
from promote.history_reader import HistoryReader, read_release
from promote.image_name import image_tag
from promote.image_registry import ImageRegistry
from promote.lifecycle import Challenger, Observation, ObservedPull
from promote.model_registry import ModelRegistry, ModelVersion
from promote.policy import read_policy
from promote.release import BranchName, branch_prefix, evidence_name, first_files, parse_branch, release_path, verdict_digest, verdict_name
from promote.rollout import Rollout
from retrain.spec import ModelSpec

GATE_CONTEXT = "ratchet/gate"
NAMED_AGAIN_TAG = "ratchet_again"


@dataclass(frozen=True)
class Parts:
    """The outside parts, and what an operator decided about them."""

    forge: Forge
    rollout: Rollout
    registry: ModelRegistry
    images: ImageRegistry
    clock: Callable[[], datetime]
    environment: str = "production"
    image_prefix: str = "ratchet"
    deadline: timedelta = timedelta(minutes=5)

    def repository(self, model: str) -> str:
        """The image repository of a model."""
        return f"{self.image_prefix}/{model}"


class Observer:
    """Looks; remembers only what cannot change: statuses that say success, verdicts by their digest."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._history = HistoryReader(parts.forge, parts.environment)
        self._verdicts: dict[str, Verdict] = {}

    def look(self, model: str) -> Observation:
        """Return what is seen of a model now; with `failures` when something could not be."""
        at, environment = self._parts.clock(), self._parts.environment
        try:
            return self._look(model, at)
        except PromoteError as error:
            return Observation(model, environment, at, failures=(str(error),))

    def _look(self, model: str, at: datetime) -> Observation:
        forge, registry = self._parts.forge, self._parts.registry
        pulls = forge.pull_requests(branch_prefix(model, self._parts.environment))  # before main: merged in between, it is seen as open and as named
        main = forge.head()
        history = self._history.read(model, main)
        challenger, champion = registry.challenger(model), registry.champion(model)
        named = history[0].release if history else None
        over = history[0].commit if history and history[0].content is not None else None
        spec, problem = self._policy(model, main)
        verdict = image = branch = None
        if challenger and (named is None or named.version != challenger.version):
            if spec:
                verdict = self._verdict(challenger, verdict_key(challenger, named, spec))
            image = self.image_of(challenger)
            branch = forge.branch_commit(BranchName("promotion", challenger.version, over).text(model, self._parts.environment))
        return Observation(
            model,
            self._parts.environment,
            at,
            main=main,
            history=history,
            is_recognised=self._is_recognised(history, pulls),
            rollout=self._parts.rollout.status(model, named.image) if named else None,
            deadline=self._parts.deadline,
            champion=champion.version if champion else None,
            challenger=_challenger(challenger),
            policy_problem=problem,
            verdict=verdict,
            image=image,
            branch=branch,
            pulls=tuple(seen for pull in pulls if (seen := self._pull(model, pull, history))),
        )

    def _policy(self, model: str, main: str) -> tuple[ModelSpec | None, str | None]:
        try:
            return read_policy(self._parts.forge, model, main), None
        except NoPolicy as error:
            return None, str(error)

    def _verdict(self, challenger: ModelVersion, name: str) -> Verdict | None:
        tag = challenger.tags.get(name)
        return None if tag is None else self.verdict_behind(challenger, tag)

    def verdict_behind(self, version: ModelVersion, tag: str) -> Verdict:
        """Return the verdict that a tag names by digest.

        Raises:
            InvalidArtifact: The tag or the file is not what promote wrote.
        """
        digest = tag_value(tag).get("digest", "")
        if digest not in self._verdicts:
            fix = f"Delete the tags `verdict.…` of version {version.version} of {version.model} in MLflow to have it judged again."
            try:
                content = self._parts.registry.read_evidence(version, evidence_name(digest), "verdict.json")
                verdict = Verdict.model_validate_json(content)
            except (ArtifactNotFound, ValidationError) as error:
                raise InvalidArtifact(f"the verdict {digest} of version {version.version} cannot be read: {error}. {fix}") from error
            if verdict_digest(verdict) != digest:
                raise InvalidArtifact(f"verdict.json of version {version.version} should be {digest} and is {verdict_digest(verdict)}. {fix}")
            self._verdicts[digest] = verdict
        return self._verdicts[digest]

    def image_of(self, version: ModelVersion) -> str | None:
        """Return a version's image as a release names it; None when it is not built."""
        repository = self._parts.repository(version.model)
        digest = self._parts.images.find(repository, image_tag(version.version, version.tags.get("model_digest", "")))
        return None if digest is None else self._parts.images.reference(repository, digest)

    def _is_recognised(self, history: History, pulls: Sequence[PullRequest]) -> bool:
        """True when what main names is bytes that served before, or what promote would propose, or did: its image may be lost since."""
        if not history or history[0].release is None:
            return False
        served = any(named.served and named.content == history[0].content for named in history)
        return served or self._is_proposal(history[0].release) or self._was_gated(history[0], pulls)

    def _was_gated(self, named: Named, pulls: Sequence[PullRequest]) -> bool:
        """True when a pull request that promote found as proposed brought these bytes."""
        pull = next((pull for pull in pulls if pull.merge_commit == named.commit), None)
        if pull is None or named.release is None or self._gate(pull) != "success":
            return False
        return self._parts.forge.read_file(release_path(named.release.model, self._parts.environment), pull.head) == named.content

    def _gate(self, pull: PullRequest) -> str | None:
        return {status.context: status.state for status in self._parts.forge.statuses(pull.head)}.get(GATE_CONTEXT)

    def _is_proposal(self, release: Release) -> bool:
        """True when registry and images say that this release was judged, promoted and built."""
        try:
            version = self._parts.registry.version(release.model, release.version)
        except VersionNotFound:
            return False
        judged = [tag_value(value) for name, value in version.tags.items() if name.startswith("verdict.")]
        promoted = any(value.get("digest") == release.verdict_digest and value.get("outcome") == "promote" for value in judged)
        return promoted and version.tags.get("model_digest") == release.model_digest and self.image_of(version) == release.image

    def _pull(self, model: str, pull: PullRequest, history: History) -> ObservedPull | None:
        branch = parse_branch(pull.branch, model, self._parts.environment)
        if branch is None:
            return None  # a person's branch under our prefix: not ours to touch
        if pull.state != "open":
            return ObservedPull(pull, branch)
        return ObservedPull(pull, branch, self._is_as_proposed(model, pull, branch, history), self._gate(pull))

    def _is_as_proposed(self, model: str, pull: PullRequest, branch: BranchName, history: History) -> bool:
        path = release_path(model, self._parts.environment)
        content = self._parts.forge.read_file(path, pull.head)
        release = read_release(content, model)
        others = set(self._parts.forge.changed_files(pull.number)) - {path}
        if release is None or release.version != branch.version or (others and (branch.over or others - set(first_files(model, self._parts.environment)))):
            return False
        if branch.purpose != "promotion":
            return any(named.served and named.content == content for named in history)
        return self._is_proposal(release)


def verdict_key(challenger: ModelVersion, champion: Release | None, spec: ModelSpec) -> str:
    """Return the tag's name for the verdict of a challenger over what main names, by main's policy."""
    return verdict_name(challenger.tags.get("model_digest", ""), champion.model_digest if champion else None, spec.gate.policy_digest)


def tag_value(tag: str) -> dict[str, str]:
    """Return what a verdict's tag says; empty when it says nothing that promote wrote."""
    try:
        value = json.loads(tag)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _challenger(version: ModelVersion | None) -> Challenger | None:
    if version is None:
        return None
    return Challenger(version.version, named_again=version.tags.get(NAMED_AGAIN_TAG) == "true")
