"""One look at everything around one model.

The forge is asked first. What it says is enough for ways back; MLflow, the image registry and the
cluster follow. A part that did not answer makes the look blind: nothing is taken for absent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from promote.cluster.port import Rollout, RolloutStatus
from promote.contract import Release, Slot
from promote.errors import (
    CommitNotFound,
    NoPolicy,
    PromoteError,
    VersionNotFound,
)
from promote.evidence.verdict_tag import (
    KeptVerdicts,
    tag_name,
    verdict_tags,
)
from promote.forge.port import Forge
from promote.forge.status_memory import StatusMemory
from promote.images.names import image_tag
from promote.images.port import ImageRegistry
from promote.loop.forge_observer import ForgeObserver
from promote.loop.observation import (
    Blind,
    Challenger,
    DatedVerdict,
    ForgeView,
    Look,
    Observation,
    ProposedPull,
)
from promote.loop.policy import models_on_main, read_policy
from promote.loop.sources import Direct, ImageMemory, Lists
from promote.registry.port import ModelRegistry, ModelVersion
from promote.release.history import ReleaseCommit
from promote.release.history_reader import read_release
from promote.release.manifest import first_files
from promote.release.slot import BranchName, release_path, short_policy
from retrain.spec.model_file import ModelSpec


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
    memory: StatusMemory = field(default_factory=StatusMemory)

    def repository(self, model: str) -> str:
        """The image repository of a model."""
        return f"{self.image_prefix}/{model}"


class Observer:
    """Looks at everything; remembers only what cannot change: final statuses and verdicts."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.forge = ForgeObserver(parts.forge, parts.environment, parts.memory)
        self.verdicts = KeptVerdicts(parts.registry)
        self._direct = Direct(parts.registry, parts.rollout, parts.images)
        self._sources = self._direct
        self._image_memory: ImageMemory = {}
        self._lists: tuple[Lists, datetime] | None = None
        self._unseen: set[str] = set()

    def start_pass(self, more: Collection[str] = ()) -> list[str]:
        """Read everything for all models at once. The next look at each model uses it.

        Args:
            more: Models beside those that main describes.

        Returns:
            The models that main describes, by name.

        Raises:
            PromoteError: The forge did not answer, or refused.
        """
        self._lists, at, forge = None, self._parts.clock(), self._parts.forge
        self._unseen = set(more)
        forge.refresh()
        forge.pull_requests("ratchet/")  # before main, as in each look
        main = forge.head()
        models = sorted(models_on_main(forge, main))
        self._unseen = {*models, *more}
        images: dict[str, str] = {}
        for model in self._unseen:
            path = release_path(Slot(model, self._parts.environment))
            content = next((one.content for one in forge.history(path, main)), None)
            release = read_release(content, model)
            if release is not None:
                images[model] = release.image
        self._lists = Lists(self._direct, images, self._image_memory), at
        return models

    def end_pass(self) -> None:
        """Keep what cannot change any more in the file beside the mirror."""
        self._parts.memory.save()

    def begin(self, model: str) -> None:
        """Have the forge read again, unless a pass has begun and did not look at the model yet."""
        if model not in self._unseen:
            self._parts.forge.refresh()

    def look(self, model: str) -> Look:
        """Return the observation of a model: of the pass's beginning at first, then of now.

        It is `Blind` when a part did not answer.
        """
        self._sources, at = self._direct, self._parts.clock()
        if self._lists is not None and model in self._unseen:
            self._sources, at = self._lists
        self._unseen.discard(model)
        failures, rollout = [], None
        try:
            view = self.forge.look(model)
        except PromoteError as error:
            return Blind(model, self._parts.environment, at, (error,))
        try:
            rollout = self._rollout(view)
        except PromoteError as error:
            failures.append(error)
        try:
            observation = self._observation(view, at, rollout)
        except PromoteError as error:
            failures.append(error)
            return Blind(model, view.environment, at, tuple(failures), view, rollout)
        if failures:
            challenger = observation.challenger
            return Blind(model, view.environment, at, tuple(failures), view, None, challenger)
        return observation

    def _rollout(self, view: ForgeView) -> RolloutStatus | None:
        release = view.release
        return self._sources.status(view.model, release.image) if release else None

    def _observation(
        self, view: ForgeView, at: datetime, rollout: RolloutStatus | None
    ) -> Observation:
        """Ask MLflow and the image registry."""
        model, sources = view.model, self._sources
        version, champion = sources.challenger(model), sources.champion(model)
        spec = self._spec(model, view.main)
        return Observation(
            **{
                **vars(view),
                "pulls": tuple(self._examined(pull, view, spec) for pull in view.pulls),
            },
            at=at,
            policy=spec if isinstance(spec, NoPolicy) else short_policy(spec.gate.policy_digest),
            rollout=rollout,
            deadline=self._parts.deadline,
            is_recognised=self._is_recognised(view),
            champion=champion,
            challenger=self._challenger(version, view, spec) if version else None,
        )

    def _challenger(
        self, version: ModelVersion, view: ForgeView, spec: ModelSpec | NoPolicy
    ) -> Challenger:
        """Return what was made for a version. Without a policy nothing is made."""
        challenger, release = Challenger(version.version, version.created_at), view.release
        is_released = release is not None and release.version == version.version
        if is_released or isinstance(spec, NoPolicy):
            return challenger
        digest = spec.gate.policy_digest
        tag = verdict_tags(version).get(tag_name(version, release, digest))
        name = BranchName("promotion", version.version, view.base_commit, short_policy(digest))
        return replace(
            challenger,
            judged=DatedVerdict(self.verdicts.read(version, tag), tag.at) if tag else None,
            image=self.image_of(version),
            branch=self._parts.forge.branch_commit(name.text(view.slot)),
        )

    def _spec(self, model: str, main: str) -> ModelSpec | NoPolicy:
        try:
            return read_policy(self._parts.forge, model, main)
        except NoPolicy as error:
            return error

    def image_of(self, version: ModelVersion) -> str | None:
        """Return a version's image as a release names it; None when it is not built."""
        repository = self._parts.repository(version.model)
        tag = image_tag(version.version, version.model_digest)
        digest = self._sources.image(repository, tag)
        return None if digest is None else self._parts.images.reference(repository, digest)

    def _is_recognised(self, view: ForgeView) -> bool:
        """True when main's bytes served before, or promote proposed or would propose them."""
        commit = view.release_commit
        if commit is None or commit.release is None:
            return False
        served = any(one.served and one.content == commit.content for one in view.history)
        if served or self._was_gated(commit, view):
            return True
        return bool(self._verdict_tags(commit.release))

    def _was_gated(self, commit: ReleaseCommit, view: ForgeView) -> bool:
        """True when a gated pull request brought these bytes. Its image may be lost since."""
        pulls = [one.pull for one in view.pulls if one.pull.merge_commit == commit.commit]
        if not pulls or self.forge.gate(pulls[0]) != "success":
            return False
        try:
            head = self._parts.forge.read_file(release_path(view.slot), pulls[0].head)
        except CommitNotFound:  # the branch is deleted, and the mirror is younger
            return False
        return head == commit.content

    def _verdict_tags(self, release: Release) -> frozenset[str]:
        """Return the names of the tags whose verdict says `promote` and is the release's.

        Empty as well when the release's model or image is not what the registries hold.
        """
        try:
            version = self._sources.version(release.model, release.version)
        except VersionNotFound:
            return frozenset()
        fits = frozenset(
            name
            for name, tag in verdict_tags(version).items()
            if (tag.digest, tag.outcome) == (release.verdict_digest, "promote")
        )
        is_same = (
            version.model_digest == release.model_digest and self.image_of(version) == release.image
        )
        return fits if is_same else frozenset()

    def _examined(
        self, proposed: ProposedPull, view: ForgeView, spec: ModelSpec | NoPolicy
    ) -> ProposedPull:
        """Return a pull request with what its head holds. Ways back are examined before."""
        if proposed.is_return or not proposed.is_open:
            return proposed
        model, forge = view.model, self._parts.forge
        path = release_path(view.slot)
        content = forge.read_file(path, proposed.pull.head)
        release = read_release(content, model)
        if content is None or release is None or release.version != proposed.branch.version:
            return replace(proposed, as_proposed=False)
        tags = self._verdict_tags(release)
        files = {path: content} | self._first_files(proposed, view)
        if not tags or not self.forge.changes_exactly(proposed.pull.head, view.main, files):
            return replace(proposed, as_proposed=False)
        if isinstance(spec, NoPolicy):
            return replace(proposed, as_proposed=True)
        judged = tag_name(release, view.release, spec.gate.policy_digest)
        return replace(proposed, as_proposed=True, is_current=judged in tags)

    def _first_files(self, proposed: ProposedPull, view: ForgeView) -> dict[str, bytes]:
        """Return what a first pull request changes beside release.yaml."""
        if proposed.branch.base_commit is not None:
            return {}
        forge = self._parts.forge
        start = forge.difference(view.main, proposed.pull.head).merge_base
        try:
            replicas = read_policy(forge, view.model, start).serving.replicas
        except NoPolicy:
            return {}
        files = first_files(view.slot, replicas=replicas)
        return {
            path: content
            for path, content in files.items()
            if forge.read_file(path, start) != content
        }
