"""The branch and the pull request of a promotion or a way back, made from an observation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from promote.contract import Release, Verdict
from promote.evidence.verdict_tag import short_digest
from promote.forge.port import NewBranch
from promote.loop.observation import ForgeView, Observation
from promote.registry.port import ModelRegistry, ModelVersion
from promote.release.history import ReleaseCommit
from promote.release.manifest import first_files, render
from promote.release.pull_request import body, rollback_body, title
from promote.release.slot import BranchName, release_path, short_policy
from retrain.contract import utc_text
from retrain.spec.model_file import ModelSpec


@dataclass(frozen=True)
class Proposal:
    """A branch that is written once, and the pull request that is opened from it."""

    branch: NewBranch
    title: str
    body: str


def promotion(
    observation: Observation,
    challenger: ModelVersion,
    verdict: Verdict,
    image: str,
    *,
    registry: ModelRegistry,
    spec: ModelSpec,
) -> Proposal:
    """Return the proposal to release a challenger instead of main's release."""
    release = Release(
        model=observation.model,
        version=challenger.version,
        image=image,
        model_digest=challenger.model_digest,
        verdict_digest=verdict.digest,
    )
    files = {release_path(observation.slot): render(release)}
    if observation.base_commit is None:
        files |= first_files(observation.slot, replicas=spec.serving.replicas)
    policy = short_policy(spec.gate.policy_digest)
    branch = BranchName("promotion", challenger.version, observation.base_commit, policy)
    name = branch.text(observation.slot)
    now = observation.release
    champion = registry.version(observation.model, now.version) if now else None
    recipe = _recipe(challenger, champion, registry) + _trained_on(challenger)
    links = _links(challenger, champion, verdict, registry)
    text = body(
        verdict,
        owner=spec.owner,
        recipe=recipe,
        commits=_commits(challenger, spec, observation.main),
        links=links,
        release=release,
    )
    heading = title(verdict)
    return Proposal(NewBranch(name, observation.main, files, f"{heading}\n"), heading, text)


def going_back(
    view: ForgeView,
    target: ReleaseCommit,
    *,
    purpose: Literal["rollback", "revert"],
    reason: str,
) -> Proposal:
    """Return the proposal to release again, byte for byte, what served before.

    Args:
        view: Its history names the release to leave.
        target: A commit of the history whose release served.
        purpose: `rollback` when a person asks, `revert` when a rollout failed.
        reason: For the reviewer.
    """
    if target.release is None or target.content is None or target.rollout is None:
        raise ValueError(f"commit {target.commit} names no release that served")
    now = view.release.version if view.release else None
    branch = BranchName(purpose, target.release.version, view.history[0].commit)
    name = branch.text(view.slot)
    heading = f"{view.model}: back to v{target.release.version}{f' from v{now}' if now else ''}"
    text = rollback_body(
        model=view.model,
        now=now,
        to=target.release,
        reason=reason,
        served=f"at {utc_text(target.rollout.at)}",
    )
    files = {release_path(view.slot): target.content}
    return Proposal(NewBranch(name, view.main, files, f"{heading}\n\n{reason}\n"), heading, text)


def _trained_on(challenger: ModelVersion) -> str:
    """Return the end of the recipe's sentence when the model was fitted on a sample."""
    sampled = challenger.tags.get("trained_on")
    return f". Trained on {sampled}" if sampled else ""


def _commits(challenger: ModelVersion, spec: ModelSpec, main: str) -> str:
    """Return which commit was trained and which commit's policy judged.

    The recipe is that of the training commit. main may have moved on meanwhile.
    """
    trained = challenger.tags.get("git_revision", "unknown")
    sentence = f"trained from `{trained[:12]}`; judged by the policy of main at `{main[:12]}`"
    technique = challenger.technique
    now = spec.recipe_digest(technique) if technique in spec.techniques else None
    if now == challenger.recipe_digest:
        return sentence
    return (
        f"{sentence}. **main's recipe differs from the trained one**: the model file or its query"
        " was changed after this training, and the next run trains the new recipe"
    )


def _recipe(
    challenger: ModelVersion, champion: ModelVersion | None, registry: ModelRegistry
) -> str:
    if champion is None:
        return f"the first release; technique {challenger.technique}"
    if challenger.recipe_digest == champion.recipe_digest:
        return f"unchanged since v{champion.version}; newer rows only"
    techniques = " to ".join(dict.fromkeys(version.technique for version in (champion, challenger)))
    return (
        f"changed since v{champion.version} (technique {techniques}): "
        f"[compare their parameters]({registry.comparison_url(champion, challenger)}). "
        "Figures on that page are from each run's own weeks; they do not say which is better"
    )


def _links(
    challenger: ModelVersion,
    champion: ModelVersion | None,
    verdict: Verdict,
    registry: ModelRegistry,
) -> list[tuple[str, str]]:
    """Return the pages for a reviewer, the gate's own first.

    MLflow's page that compares runs is left out. It begins with each run's figures on that run's
    own weeks, which cannot be compared. The intervals here are of both models on the same rows.
    """
    folder = short_digest(verdict.digest)
    pages = [
        ("evidence", registry.evidence_url(challenger, folder, "explanation.md")),
        ("intervals as a picture", registry.evidence_url(challenger, folder, "intervals.png")),
        (f"run of v{challenger.version}", registry.run_url(challenger)),
    ]
    return (
        [*pages, (f"run of v{champion.version}", registry.run_url(champion))] if champion else pages
    )
