"""One look at everything around one model.

The forge is asked first. What it says is enough for ways back; MLflow, the image registry and the
cluster follow. A part that did not answer makes the look blind: nothing is taken for absent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pydantic import ValidationError

from promote.cluster.port import Rollout
from promote.contract import Release, Verdict
from promote.errors import (
    ArtifactNotFound,
    InvalidArtifact,
    NoPolicy,
    PromoteError,
    Unavailable,
    VersionNotFound,
)
from promote.forge.port import Forge, PullRequest, blob_id
from promote.images.names import image_tag
from promote.images.port import ImageRegistry
from promote.loop.lifecycle import Challenger, Failure, Observation, ProposedPull
from promote.loop.policy import read_policy
from promote.registry.port import ModelRegistry, ModelVersion
from promote.release.history import History, ReleaseCommit
from promote.release.history_reader import HistoryReader, read_release
from promote.release.manifest import (
    BranchName,
    branch_prefix,
    evidence_name,
    first_files,
    parse_branch,
    release_path,
    short_policy,
    verdict_digest,
    verdict_name,
)
from retrain.spec.model_file import ModelSpec

GATE_CONTEXT = "ratchet/gate"


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


class ForgeObserver:
    """Looks at the forge alone; remembers only what cannot change."""

    def __init__(self, forge: Forge, environment: str) -> None:
        self._forge, self._environment = forge, environment
        self._history = HistoryReader(forge, environment)

    def look(self, model: str, at: datetime) -> Observation:
        """Return what the forge says of a model: main, history, pull requests.

        Ways back are examined; whether a promotion is as proposed, only `Observer` can say.
        """
        try:
            # Pull requests before main: one merged in between is seen as open and as named.
            pulls = self._forge.pull_requests(branch_prefix(model, self._environment))
            main = self._forge.head()
            history = self._history.read(model, main)
            proposed = tuple(
                found for pull in pulls if (found := self._pull(model, pull, main, history))
            )
        except PromoteError as error:
            return Observation(model, self._environment, at, forge_failure=failure_of(error))
        return Observation(model, self._environment, at, main=main, history=history, pulls=proposed)

    def gate(self, pull: PullRequest) -> str | None:
        """Return the state of a head's status `ratchet/gate`."""
        states = {status.context: status.state for status in self._forge.statuses(pull.head)}
        return states.get(GATE_CONTEXT)

    def changes_exactly(self, head: str, main: str, files: Mapping[str, bytes]) -> bool:
        """Return whether merging a commit into main changes these files to these bytes, and no other file."""
        difference = self._forge.difference(main, head)
        proposed = {path: blob_id(content) for path, content in files.items()}
        return dict(difference.files) == proposed

    def _pull(
        self, model: str, pull: PullRequest, main: str, history: History
    ) -> ProposedPull | None:
        branch = parse_branch(pull.branch, model, self._environment)
        if branch is None:
            return None  # a person's branch under our prefix: not ours to touch
        proposed = ProposedPull(pull, branch)
        if not proposed.is_open:
            return proposed
        gate = self.gate(pull)
        if not proposed.is_return:
            return replace(proposed, gate=gate)
        return replace(
            proposed, gate=gate, as_proposed=self._goes_back(model, proposed, main, history)
        )

    def _goes_back(self, model: str, proposed: ProposedPull, main: str, history: History) -> bool:
        """True when the head changes release.yaml to bytes that served as the version that its branch names."""
        path = release_path(model, self._environment)
        content = self._forge.read_file(path, proposed.pull.head)
        served = any(
            one.served
            and one.content == content
            and one.release is not None
            and one.release.version == proposed.branch.version
            for one in history
        )
        if content is None or not served:
            return False
        return self.changes_exactly(proposed.pull.head, main, {path: content})


class Observer:
    """Looks at everything; remembers only what cannot change: statuses that say success, verdicts by their digest."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.forge = ForgeObserver(parts.forge, parts.environment)
        self._verdicts: dict[str, Verdict] = {}

    def look(self, model: str) -> Observation:
        """Return what is seen of a model now, and which parts failed."""
        observation = self.forge.look(model, self._parts.clock())
        if observation.forge_failure:
            return observation
        observation = replace(observation, deadline=self._parts.deadline)
        failures = []
        for look in (self._look_at_registries, self._look_at_cluster):
            try:
                observation = look(observation)
            except PromoteError as error:
                failures.append(failure_of(error))
        return replace(observation, failures=tuple(failures))

    def _look_at_cluster(self, observation: Observation) -> Observation:
        release = observation.release
        rollout = self._parts.rollout.status(observation.model, release.image) if release else None
        return replace(observation, rollout=rollout)

    def _look_at_registries(self, observation: Observation) -> Observation:
        model, registry = observation.model, self._parts.registry
        challenger, champion = registry.challenger(model), registry.champion(model)
        spec, problem = self._policy(model, observation.main)
        release = observation.release
        observation = replace(
            observation,
            is_recognised=self._is_recognised(observation),
            champion=champion.version if champion else None,
            challenger=Challenger(challenger.version, challenger.created_at)
            if challenger
            else None,
            policy_problem=problem,
            policy=short_policy(spec.gate.policy_digest) if spec else None,
            pulls=tuple(self._examined(pull, observation, spec) for pull in observation.pulls),
        )
        if challenger is None or (release is not None and release.version == challenger.version):
            return observation
        tag = challenger.tags.get(verdict_key(challenger, release, spec)) if spec else None
        name = BranchName(
            "promotion", challenger.version, observation.base_commit, observation.policy
        )
        return replace(
            observation,
            verdict=None if tag is None else self.verdict_behind(challenger, tag),
            judged_at=None if tag is None else _judged_at(tag),
            image=self.image_of(challenger),
            branch=self._parts.forge.branch_commit(name.text(model, observation.environment)),
        )

    def _policy(self, model: str, main: str) -> tuple[ModelSpec | None, str | None]:
        try:
            return read_policy(self._parts.forge, model, main), None
        except NoPolicy as error:
            return None, str(error)

    def verdict_behind(self, version: ModelVersion, tag: str) -> Verdict:
        """Return the verdict that a tag names by digest.

        Raises:
            InvalidArtifact: The tag or the file is not what promote wrote.
        """
        digest = tag_value(tag).get("digest", "")
        if digest not in self._verdicts:
            fix = f"Delete the tags `verdict.…` of version {version.version} of {version.model} in MLflow to have it judged again."
            try:
                content = self._parts.registry.read_evidence(
                    version, evidence_name(digest), "verdict.json"
                )
                verdict = Verdict.model_validate_json(content)
            except (ArtifactNotFound, ValidationError) as error:
                raise InvalidArtifact(
                    f"The verdict {digest} of version {version.version} of {version.model} cannot be read: {error}. {fix}"
                ) from error
            if (found := verdict_digest(verdict)) != digest:
                raise InvalidArtifact(
                    f"verdict.json of version {version.version} of {version.model} should be {digest} and is {found}. {fix}"
                )
            self._verdicts[digest] = verdict
        return self._verdicts[digest]

    def image_of(self, version: ModelVersion) -> str | None:
        """Return a version's image as a release names it; None when it is not built."""
        repository = self._parts.repository(version.model)
        digest = self._parts.images.find(
            repository, image_tag(version.version, version.tags.get("model_digest", ""))
        )
        return None if digest is None else self._parts.images.reference(repository, digest)

    def _is_recognised(self, observation: Observation) -> bool:
        """True when what main names is bytes that served before, or that promote proposed, or would propose."""
        commit = observation.release_commit
        if commit is None or commit.release is None:
            return False
        served = any(one.served and one.content == commit.content for one in observation.history)
        if served or self._was_gated(commit, observation):
            return True
        return bool(self._verdict_tags(commit.release))

    def _was_gated(self, commit: ReleaseCommit, observation: Observation) -> bool:
        """True when a pull request that promote found as proposed brought these bytes: its image may be lost since."""
        pulls = [one.pull for one in observation.pulls if one.pull.merge_commit == commit.commit]
        if not pulls or self.forge.gate(pulls[0]) != "success":
            return False
        path = release_path(observation.model, observation.environment)
        return self._parts.forge.read_file(path, pulls[0].head) == commit.content

    def _verdict_tags(self, release: Release) -> frozenset[str]:
        """Return the names of the tags whose verdict says `promote` and is the release's.

        Empty as well when the release's model or image is not what the registries hold.
        """
        try:
            version = self._parts.registry.version(release.model, release.version)
        except VersionNotFound:
            return frozenset()
        tags = {
            name: tag_value(value)
            for name, value in version.tags.items()
            if name.startswith("verdict.")
        }
        fits = frozenset(
            name
            for name, value in tags.items()
            if value.get("digest") == release.verdict_digest and value.get("outcome") == "promote"
        )
        is_same = (
            version.tags.get("model_digest") == release.model_digest
            and self.image_of(version) == release.image
        )
        return fits if is_same else frozenset()

    def _examined(
        self, proposed: ProposedPull, observation: Observation, spec: ModelSpec | None
    ) -> ProposedPull:
        """Return a pull request with what its head holds; only an open promotion is not examined yet."""
        if proposed.is_return or not proposed.is_open:
            return proposed
        model, forge = observation.model, self._parts.forge
        path = release_path(model, observation.environment)
        content = forge.read_file(path, proposed.pull.head)
        release = read_release(content, model)
        if content is None or release is None or release.version != proposed.branch.version:
            return replace(proposed, as_proposed=False)
        tags = self._verdict_tags(release)
        files = {path: content} | self._first_files(proposed, observation)
        if not tags or not self.forge.changes_exactly(proposed.pull.head, observation.main, files):
            return replace(proposed, as_proposed=False)
        if spec is None:
            return proposed
        judged = verdict_name(
            release.model_digest,
            observation.release.model_digest if observation.release else None,
            spec.gate.policy_digest,
        )
        return replace(proposed, is_current=judged in tags)

    def _first_files(self, proposed: ProposedPull, observation: Observation) -> dict[str, bytes]:
        """Return what a first pull request changes beside release.yaml, by the model file it was written from."""
        if proposed.branch.base_commit is not None:
            return {}
        forge = self._parts.forge
        start = forge.difference(observation.main, proposed.pull.head).merge_base
        try:
            replicas = read_policy(forge, observation.model, start).serving.replicas
        except NoPolicy:
            return {}
        files = first_files(observation.model, observation.environment, replicas=replicas)
        return {
            path: content
            for path, content in files.items()
            if forge.read_file(path, start) != content
        }


def failure_of(error: PromoteError) -> Failure:
    """Return an error as an observation keeps it."""
    return Failure(isinstance(error, Unavailable), str(error))


def verdict_key(challenger: ModelVersion, champion: Release | None, spec: ModelSpec) -> str:
    """Return the tag's name for the verdict of a challenger over what main names, by main's policy."""
    return verdict_name(
        challenger.tags.get("model_digest", ""),
        champion.model_digest if champion else None,
        spec.gate.policy_digest,
    )


def tag_value(tag: str) -> dict[str, str]:
    """Return what a verdict's tag says; empty when it says nothing that promote wrote."""
    try:
        value = json.loads(tag)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _judged_at(tag: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(tag_value(tag).get("at")))
    except ValueError:
        return None
    return at if at.tzinfo else None
