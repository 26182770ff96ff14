"""A verdict and its tag are written and read by one file."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from promote.contract import Reason, Release, Verdict
from promote.errors import InvalidArtifact
from promote.evidence.port import Judged
from promote.evidence.verdict_tag import KeptVerdicts, VerdictTag, tag_name, verdict_tags
from promote.registry.port import ModelVersion
from retrain.contract import canonical_json
from tests.fakes.model_registry import FakeModelRegistry
from tests.grounds.old_release import OldRelease, old_releases

AT = datetime(2026, 1, 5, 6, tzinfo=UTC)
DIGESTS = {
    "model_digest": "sha256:" + "a" * 64,
    "snapshot_id": "sha256:" + "0" * 64,
    "recipe_digest": "sha256:" + "1" * 64,
    "technique": "boosted_trees",
}
NAME = "verdict.aaaaaaaaaaaa.over-none.by-bbbbbbbbbbbb"


def a_registry(**tags: str) -> tuple[FakeModelRegistry, ModelVersion]:
    registry = FakeModelRegistry()
    return registry, registry.register("m", {}, snapshot=None, tags=DIGESTS | tags)


def judged(sentence: str = "better.") -> Judged:
    verdict = Verdict(
        outcome="keep",
        kind="first",
        model="m",
        challenger=1,
        champion=None,
        snapshot_id=DIGESTS["snapshot_id"],
        policy_digest="sha256:" + "b" * 64,
        comparisons=(),
        reasons=(Reason(rule="first", outcome="block", sentence=sentence),),
    )
    files = {"verdict.json": canonical_json(verdict.model_dump(mode="json"))}
    return Judged(verdict, files, {"gate_log_loss": 0.4})


def test_a_verdict_that_was_kept_is_read_again() -> None:
    registry, version = a_registry()
    done = judged("a" * 2000)

    KeptVerdicts(registry).keep(version, NAME, done, AT)

    tag = verdict_tags(registry.version("m", 1))[NAME]
    expected = VerdictTag(digest=done.verdict.digest, outcome="keep", sentence="a" * 1000, at=AT)
    assert tag == expected
    assert KeptVerdicts(registry).read(version, tag) == done.verdict


def test_the_tag_is_written_last() -> None:
    registry, version = a_registry()
    KeptVerdicts(registry).keep(version, NAME, judged(), AT)
    assert registry.acts[-1].startswith("tag")


def test_the_name_holds_the_digests_of_both_models_and_the_policy() -> None:
    _, version = a_registry()
    policy = "sha256:" + "b" * 64
    digest = "sha256:" + "c" * 64
    champion = Release(model="m", version=1, image="i", model_digest=digest, verdict_digest=digest)
    assert tag_name(version, None, policy) == NAME
    assert tag_name(version, champion, policy) == NAME.replace("none", "c" * 12)


@pytest.mark.parametrize(
    "value", ["", "promote", "[]", '{"digest": "x"}', json.dumps({"outcome": "promote"})]
)
def test_a_value_that_promote_did_not_write_is_no_verdict(value: str) -> None:
    _, version = a_registry(**{NAME: value, "verdict": "promote"})
    assert verdict_tags(version) == {}


def test_a_file_of_another_verdict_is_refused() -> None:
    registry, version = a_registry()
    done = judged()
    other = Judged(done.verdict, judged("worse.").files, {})
    KeptVerdicts(registry).keep(version, NAME, other, AT)

    tag = verdict_tags(registry.version("m", 1))[NAME]
    with pytest.raises(InvalidArtifact, match="Delete the version's tags"):
        KeptVerdicts(registry).read(version, tag)


@pytest.mark.parametrize("old", old_releases(), ids=lambda old: old.folder.name)
def test_tags_of_old_releases_are_read(old: OldRelease) -> None:
    registry = FakeModelRegistry()
    version = registry.register("m", {}, snapshot=None, tags=old.tags)
    (tag,) = verdict_tags(version).values()
    assert (tag.digest, tag.outcome) == (old.release.verdict_digest, "promote")
