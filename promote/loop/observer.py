"""One look at everything around one model.

The forge is asked first. What it says is enough for ways back; MLflow, the image registry and the
cluster follow. A part that did not answer makes the look blind: nothing is taken for absent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from promote.cluster.port import Rollout, RolloutStatus
from promote.contract import Release, Slot
from promote.errors import (
    NoPolicy,
    PromoteError,
    VersionNotFound,
)
from promote.evidence.verdict_tag import (
    KeptVerdicts,
    tag_name,
    verdict_tags,
)
from promote.forge.port import Forge, PullRequest, blob_id
from promote.images.names import image_tag
from promote.images.port import ImageRegistry
from promote.loop.observation import (
    Blind,
    Challenger,
    ForgeView,
    Look,
    Observation,
    ProposedPull,
)
from promote.loop.policy import read_policy
from promote.registry.port import ModelRegistry, ModelVersion
from promote.release.history import History, ReleaseCommit
from promote.release.history_reader import HistoryReader, read_release
from promote.release.manifest import first_files
from promote.release.slot import BranchName, branch_prefix, parse_branch, release_path, short_policy
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

    def look(self, model: str) -> ForgeView:
        """Return what the forge says of a model: main, history, pull requests.

        Ways back are examined. Only `Observer` can tell whether a promotion is as proposed.

        Raises:
            PromoteError: The forge did not answer, or refused.
        """
        # Pull requests before main: one merged in between then appears as open and as released.
        pulls = self._forge.pull_requests(branch_prefix(Slot(model, self._environment)))
        main = self._forge.head()
        history = self._history.read(model, main)
        proposed = (self._pull(model, pull, main, history) for pull in pulls)
        ours = tuple(one for one in proposed if one is not None)
        return ForgeView(model, self._environment, main, history, ours)

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
        branch = parse_branch(pull.branch, Slot(model, self._environment))
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
        path = release_path(Slot(model, self._environment))
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
        self.verdicts = KeptVerdicts(parts.registry)

    def look(self, model: str) -> Look:
        """Return the observation of a model now; `Blind` when a part did not answer."""
        at, failures, rollout = self._parts.clock(), [], None
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
        if failures:
            return Blind(model, view.environment, at, tuple(failures), view, rollout)
        return observation

    def _rollout(self, view: ForgeView) -> RolloutStatus | None:
        release = view.release
        return self._parts.rollout.status(view.model, release.image) if release else None

    def _observation(
        self, view: ForgeView, at: datetime, rollout: RolloutStatus | None
    ) -> Observation:
        """Ask MLflow and the image registry."""
        model, registry = view.model, self._parts.registry
        challenger, champion = registry.challenger(model), registry.champion(model)
        spec, problem = self._policy(model, view.main)
        release = view.release
        observation = Observation(
            **{
                **vars(view),
                "pulls": tuple(self._examined(pull, view, spec) for pull in view.pulls),
            },
            at=at,
            rollout=rollout,
            deadline=self._parts.deadline,
            is_recognised=self._is_recognised(view),
            champion=champion.version if champion else None,
            challenger=Challenger(challenger.version, challenger.created_at)
            if challenger
            else None,
            policy_problem=problem,
            policy=short_policy(spec.gate.policy_digest) if spec else None,
        )
        if challenger is None or (release is not None and release.version == challenger.version):
            return observation
        judged = tag_name(challenger, release, spec.gate.policy_digest) if spec else ""
        tag = verdict_tags(challenger).get(judged)
        name = BranchName(
            "promotion", challenger.version, observation.base_commit, observation.policy
        )
        return replace(
            observation,
            verdict=self.verdicts.read(challenger, tag) if tag else None,
            judged_at=tag.at if tag else None,
            image=self.image_of(challenger),
            branch=self._parts.forge.branch_commit(name.text(view.slot)),
        )

    def _policy(self, model: str, main: str) -> tuple[ModelSpec | None, str | None]:
        try:
            return read_policy(self._parts.forge, model, main), None
        except NoPolicy as error:
            return None, str(error)

    def image_of(self, version: ModelVersion) -> str | None:
        """Return a version's image as a release names it; None when it is not built."""
        repository = self._parts.repository(version.model)
        digest = self._parts.images.find(
            repository, image_tag(version.version, version.model_digest)
        )
        return None if digest is None else self._parts.images.reference(repository, digest)

    def _is_recognised(self, view: ForgeView) -> bool:
        """True when what main names is bytes that served before, or that promote proposed, or would propose."""
        commit = view.release_commit
        if commit is None or commit.release is None:
            return False
        served = any(one.served and one.content == commit.content for one in view.history)
        if served or self._was_gated(commit, view):
            return True
        return bool(self._verdict_tags(commit.release))

    def _was_gated(self, commit: ReleaseCommit, view: ForgeView) -> bool:
        """True when a pull request that promote found as proposed brought these bytes: its image may be lost since."""
        pulls = [one.pull for one in view.pulls if one.pull.merge_commit == commit.commit]
        if not pulls or self.forge.gate(pulls[0]) != "success":
            return False
        path = release_path(view.slot)
        return self._parts.forge.read_file(path, pulls[0].head) == commit.content

    def _verdict_tags(self, release: Release) -> frozenset[str]:
        """Return the names of the tags whose verdict says `promote` and is the release's.

        Empty as well when the release's model or image is not what the registries hold.
        """
        try:
            version = self._parts.registry.version(release.model, release.version)
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
        self, proposed: ProposedPull, view: ForgeView, spec: ModelSpec | None
    ) -> ProposedPull:
        """Return a pull request with what its head holds; only an open promotion is not examined yet."""
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
        if spec is None:
            return replace(proposed, as_proposed=True)
        judged = tag_name(release, view.release, spec.gate.policy_digest)
        return replace(proposed, as_proposed=True, is_current=judged in tags)

    def _first_files(self, proposed: ProposedPull, view: ForgeView) -> dict[str, bytes]:
        """Return what a first pull request changes beside release.yaml, by the model file it was written from."""
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
