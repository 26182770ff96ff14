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
from promote.loop.lifecycle import Challenger, Failure, Observation, ObservedPull
from promote.loop.policy import read_policy
from promote.registry.port import ModelRegistry, ModelVersion
from promote.release.history import History, Named
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
            seen = tuple(
                found for pull in pulls if (found := self._pull(model, pull, main, history))
            )
        except PromoteError as error:
            return Observation(model, self._environment, at, forge_failure=failure_of(error))
        return Observation(model, self._environment, at, main=main, history=history, pulls=seen)

    def gate(self, pull: PullRequest) -> str | None:
        """Return the state of a head's status `ratchet/gate`."""
        states = {status.context: status.state for status in self._forge.statuses(pull.head)}
        return states.get(GATE_CONTEXT)

    def changes_exactly(self, head: str, main: str, files: Mapping[str, bytes]) -> bool:
        """Return whether merging a commit into main changes these files to these bytes, and no other file."""
        difference = self._forge.difference(main, head)
        proposed = {path: blob_id(content) for path, content in files.items()}
        return difference.is_complete and dict(difference.files) == proposed

    def _pull(
        self, model: str, pull: PullRequest, main: str, history: History
    ) -> ObservedPull | None:
        branch = parse_branch(pull.branch, model, self._environment)
        if branch is None:
            return None  # a person's branch under our prefix: not ours to touch
        seen = ObservedPull(pull, branch)
        if not seen.is_open:
            return seen
        gate = self.gate(pull)
        if not seen.is_return:
            return replace(seen, gate=gate)
        return replace(seen, gate=gate, as_proposed=self._goes_back(model, seen, main, history))

    def _goes_back(self, model: str, seen: ObservedPull, main: str, history: History) -> bool:
        """True when the head changes release.yaml to bytes that served as the version that its branch names."""
        path = release_path(model, self._environment)
        content = self._forge.read_file(path, seen.pull.head)
        served = any(
            named.served
            and named.content == content
            and named.release is not None
            and named.release.version == seen.branch.version
            for named in history
        )
        if content is None or not served:
            return False
        return self.changes_exactly(seen.pull.head, main, {path: content})


class Observer:
    """Looks at everything; remembers only what cannot change: statuses that say success, verdicts by their digest."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.forge = ForgeObserver(parts.forge, parts.environment)
        self._verdicts: dict[str, Verdict] = {}

    def look(self, model: str) -> Observation:
        """Return what is seen of a model now, and which parts failed."""
        seen = self.forge.look(model, self._parts.clock())
        if seen.forge_failure:
            return seen
        seen = replace(seen, deadline=self._parts.deadline)
        failures = []
        for look in (self._look_at_registries, self._look_at_cluster):
            try:
                seen = look(seen)
            except PromoteError as error:
                failures.append(failure_of(error))
        return replace(seen, failures=tuple(failures))

    def _look_at_cluster(self, seen: Observation) -> Observation:
        named = seen.named.release if seen.named else None
        rollout = self._parts.rollout.status(seen.model, named.image) if named else None
        return replace(seen, rollout=rollout)

    def _look_at_registries(self, seen: Observation) -> Observation:
        model, registry = seen.model, self._parts.registry
        challenger, champion = registry.challenger(model), registry.champion(model)
        spec, problem = self._policy(model, seen.main)
        named = seen.named.release if seen.named else None
        seen = replace(
            seen,
            is_recognised=self._is_recognised(seen),
            champion=champion.version if champion else None,
            challenger=Challenger(challenger.version, challenger.created_at)
            if challenger
            else None,
            policy_problem=problem,
            policy=short_policy(spec.gate.policy_digest) if spec else None,
            pulls=tuple(self._examined(pull, seen, named, spec) for pull in seen.pulls),
        )
        if challenger is None or (named is not None and named.version == challenger.version):
            return seen
        tag = challenger.tags.get(verdict_key(challenger, named, spec)) if spec else None
        name = BranchName("promotion", challenger.version, seen.over, seen.policy)
        return replace(
            seen,
            verdict=None if tag is None else self.verdict_behind(challenger, tag),
            judged_at=None if tag is None else _judged_at(tag),
            image=self.image_of(challenger),
            branch=self._parts.forge.branch_commit(name.text(model, seen.environment)),
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

    def _is_recognised(self, seen: Observation) -> bool:
        """True when what main names is bytes that served before, or that promote proposed, or would propose."""
        named = seen.named
        if named is None or named.release is None:
            return False
        served = any(one.served and one.content == named.content for one in seen.history)
        if served or self._was_gated(named, seen):
            return True
        return bool(self._verdict_tags(named.release))

    def _was_gated(self, named: Named, seen: Observation) -> bool:
        """True when a pull request that promote found as proposed brought these bytes: its image may be lost since."""
        pulls = [one.pull for one in seen.pulls if one.pull.merge_commit == named.commit]
        if not pulls or self.forge.gate(pulls[0]) != "success":
            return False
        path = release_path(seen.model, seen.environment)
        return self._parts.forge.read_file(path, pulls[0].head) == named.content

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
        self, seen: ObservedPull, look: Observation, named: Release | None, spec: ModelSpec | None
    ) -> ObservedPull:
        """Return a pull request with what its head holds; only an open promotion is not examined yet."""
        if seen.is_return or not seen.is_open:
            return seen
        model, forge = look.model, self._parts.forge
        path = release_path(model, look.environment)
        content = forge.read_file(path, seen.pull.head)
        release = read_release(content, model)
        if content is None or release is None or release.version != seen.branch.version:
            return replace(seen, as_proposed=False)
        tags = self._verdict_tags(release)
        files = {path: content} | self._first_files(seen, look)
        if not tags or not self.forge.changes_exactly(seen.pull.head, look.main, files):
            return replace(seen, as_proposed=False)
        if spec is None:
            return seen
        judged = verdict_name(
            release.model_digest, named.model_digest if named else None, spec.gate.policy_digest
        )
        return replace(seen, is_current=judged in tags)

    def _first_files(self, seen: ObservedPull, look: Observation) -> dict[str, bytes]:
        """Return what a first pull request changes beside release.yaml, by the model file it was written from."""
        if seen.branch.over is not None:
            return {}
        forge = self._parts.forge
        start = forge.difference(look.main, seen.pull.head).merge_base
        try:
            replicas = read_policy(forge, look.model, start).serving.replicas
        except NoPolicy:
            return {}
        files = first_files(look.model, look.environment, replicas=replicas)
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
