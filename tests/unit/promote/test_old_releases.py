"""Today's promote recognises releases of earlier versions of Ratchet and goes back to them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from promote.contract import Slot, Verdict
from promote.forge.port import NewBranch, PullRequest
from promote.loop.forge_observer import GATE_CONTEXT
from promote.loop.observation import Observation
from promote.loop.observer import Observer, Parts
from promote.loop.reconciler import Reconciler
from promote.loop.way_back import roll_back
from promote.release.history import ROLLOUT_CONTEXT
from promote.release.slot import release_path
from retrain.contract import digest_of_bytes
from tests.fakes.forge import FakeForge
from tests.fakes.image_registry import FakeImageRegistry
from tests.fakes.model_registry import FakeModelRegistry
from tests.fakes.promotion_world import ToldJudge, model_folder
from tests.fakes.rollout import FakeRollout
from tests.grounds.old_release import MODEL, OldRelease, old_releases

PATH = release_path(Slot(MODEL, "production"))


class Production:
    """What an old version of promote left: the registries and git as it wrote them."""

    def __init__(self, old: OldRelease) -> None:
        self.old, self.at = old, datetime(2026, 12, 1, tzinfo=UTC)
        before = {path: content for path, content in old.main.items() if path not in old.proposed}
        self.forge, self.rollout, self.judge = (
            FakeForge(before, now=self.tick),
            FakeRollout(),
            ToldJudge(),
        )
        self.registry, self.images = FakeModelRegistry(), FakeImageRegistry()
        registered = {"snapshot": old.snapshot_json, "tags": old.tags}
        version = self.registry.register(MODEL, old.model_folder, **registered)
        verdict = (old.folder / "verdict.json").read_bytes()
        evidence = old.release.verdict_digest[7:19]
        self.registry.log_evidence(version, evidence, {"verdict.json": verdict})
        image = old.json("forge.json")["image"]
        self.images._tags[image["repository"], image["tag"]] = old.release.image.partition("@")[2]

    def tick(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at

    def open_old_pull(self, *, with_statuses: bool = True) -> PullRequest:
        """The pull request as the old promote opened it."""
        said = self.old.json("forge.json")
        main, files = self.forge.head(), self.old.proposed
        self.forge.create_branch(NewBranch(said["branch"], main, files, said["message"]))
        pull = self.forge.open_pull_request(said["branch"], said["title"], "")
        if with_statuses:
            self._say(pull.head, said["statuses of the pull request"])
        return pull

    def release_old(self, *, with_statuses: bool = True) -> str:
        """Merge it, and let it serve."""
        merged = self.forge.merge(self.open_old_pull(with_statuses=with_statuses).number)
        if with_statuses:
            self._say(merged, self.old.json("forge.json")["statuses of the merge"])
        self.rollout.becomes_healthy(MODEL, self.old.release.image)
        return merged

    def release_new(self) -> None:
        """Today's promote ships version 2."""
        tags = self.old.tags | {"model_digest": "sha256:" + "2" * 64}
        self.registry.register(MODEL, model_folder(2), snapshot=b"{}", tags=tags)
        content = self.old.release_yaml.replace(b'version: "1"', b'version: "2"')
        commit = self.forge.push({PATH: content})
        self.forge.set_status(commit, ROLLOUT_CONTEXT, "success", "version 2 is healthy")

    def state_of(self, context: str, commit: str) -> str | None:
        """The state of a commit's status."""
        states = {status.context: status.state for status in self.forge.statuses(commit)}
        return states.get(context)

    def look(self) -> Observation:
        look = Observer(self._parts()).look(MODEL)
        assert isinstance(look, Observation)
        return look

    def reconciler(self) -> Reconciler:
        return Reconciler(self._parts(), self.judge)

    def _parts(self) -> Parts:
        return Parts(self.forge, self.rollout, self.registry, self.images, clock=lambda: self.at)

    def _say(self, commit: str, statuses: list[dict[str, str]]) -> None:
        for status in statuses:
            self.forge.set_status(commit, **status)


@pytest.fixture(params=old_releases(), ids=lambda old: old.folder.name)
def production(request: pytest.FixtureRequest) -> Iterator[Production]:
    return Production(request.param)


def test_an_old_release_is_what_main_names_and_serves(production: Production) -> None:
    commit = production.release_old()
    before = production.forge.statuses(commit)

    promotion = production.reconciler().reconcile(MODEL)

    assert production.look().is_recognised
    assert production.forge.statuses(commit) == before, "recorded once"
    assert promotion.serving is not None
    assert (promotion.serving.version, promotion.serving.image) == (1, production.old.release.image)
    assert promotion.waits_for is None, promotion.reason
    assert production.judge.asked == []
    assert production.registry.champion(MODEL).version == 1


def test_an_old_release_whose_rollout_nobody_recorded_is_recognised_by_its_verdict(
    production: Production,
) -> None:
    commit = production.release_old(with_statuses=False)

    assert production.look().is_recognised

    production.reconciler().reconcile(MODEL)
    assert production.state_of(ROLLOUT_CONTEXT, commit) == "success"


def test_an_old_verdict_is_found_and_not_given_again(production: Production) -> None:
    challenger = production.look().challenger

    assert challenger is not None
    assert challenger.judged is not None
    found = challenger.judged.verdict
    assert (found.outcome, found.digest) == (
        "promote",
        production.old.release.verdict_digest,
    )
    production.reconciler().reconcile(MODEL)
    assert production.judge.asked == []


def test_an_old_verdict_keeps_its_bytes_and_its_digest(production: Production) -> None:
    content = (production.old.folder / "verdict.json").read_bytes()
    digest = production.old.release.verdict_digest
    assert digest_of_bytes(content) == digest
    assert Verdict.model_validate_json(content).digest == digest


def test_a_pull_request_that_an_old_promote_opened_can_be_merged(production: Production) -> None:
    pull = production.open_old_pull()

    promotion = production.reconciler().reconcile(MODEL)

    assert production.forge.pulls[pull.number].state == "open"
    assert production.state_of(GATE_CONTEXT, pull.head) == "success"
    assert (promotion.state, promotion.waits_for, promotion.pull_request) == (
        "proposed",
        "reviewer",
        pull.number,
    ), promotion.reason
    assert len(production.forge.pulls) == 1


def test_a_pull_request_of_an_old_promote_that_a_person_closed_is_not_opened_again(
    production: Production,
) -> None:
    pull = production.open_old_pull()
    production.forge.close(pull.number)

    promotion = production.reconciler().reconcile(MODEL)

    assert (promotion.state, promotion.pull_request) == ("rejected", pull.number), promotion.reason
    assert len(production.forge.pulls) == 1


def test_a_rollback_brings_the_old_release_back_byte_for_byte(production: Production) -> None:
    production.release_old()
    production.release_new()

    pull = roll_back(production.forge, "production", MODEL, reason="version 2 is worse").pull
    production.reconciler().reconcile(MODEL)
    gate = production.state_of(GATE_CONTEXT, pull.head)
    production.forge.merge(pull.number)
    production.reconciler().reconcile(MODEL)

    assert gate == "success"
    assert production.forge.read_file(PATH, production.forge.head()) == production.old.release_yaml
    assert production.look().is_recognised
    assert production.registry.champion(MODEL).version == 1
