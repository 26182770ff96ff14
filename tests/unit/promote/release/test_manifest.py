"""release.yaml to the byte, and what a pull request says."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from promote.contract import Reason, Release, Verdict
from promote.errors import InvalidName, InvalidRelease
from promote.release.manifest import (
    BranchName,
    body,
    check_model,
    first_files,
    parse,
    parse_branch,
    render,
    title,
)
from retrain.contract import Comparison, Interval

digests = st.text("0123456789abcdef", min_size=64, max_size=64).map(
    lambda digits: f"sha256:{digits}"
)
releases = st.builds(
    Release,
    model=st.just("flight-delay"),
    version=st.integers(1, 10**6),
    image=digests.map(lambda digest: f"ratchet/flight-delay@{digest}"),
    model_digest=digests,
    verdict_digest=digests,
)
RELEASE = Release(
    model="flight-delay",
    version=8,
    image="ratchet/flight-delay@sha256:" + "a" * 64,
    model_digest="sha256:" + "b" * 64,
    verdict_digest="sha256:" + "c" * 64,
)


@given(releases)
def test_what_is_written_is_what_is_read(release: Release) -> None:
    assert parse(render(release), release.model) == release


@given(releases, st.integers(0, 400), st.binary(min_size=1, max_size=1))
def test_a_changed_byte_is_another_release_or_none(release: Release, at: int, byte: bytes) -> None:
    content = render(release)
    at = min(at, len(content) - 1)
    changed = content[:at] + byte + content[at + 1 :]
    try:
        found = parse(changed, release.model)
    except InvalidRelease:
        return
    assert render(found) == changed


def test_every_value_is_a_quoted_string_that_kustomize_keeps() -> None:
    written = yaml.safe_load(render(RELEASE))
    assert written["kind"] == "ConfigMap"
    assert written["metadata"] == {
        "name": "release",
        "annotations": {"config.kubernetes.io/local-config": "true"},
    }
    assert written["data"] == {
        "image": RELEASE.image,
        "model_digest": RELEASE.model_digest,
        "verdict": RELEASE.verdict_digest,
        "version": "8",
    }


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"kind: ConfigMap\n",
        render(RELEASE) * 2,
        render(RELEASE).replace(b"@sha256:", b":latest@"),
    ],
)
def test_anything_else_is_not_recognised(content: bytes) -> None:
    with pytest.raises(InvalidRelease):
        parse(content, "flight-delay")


def test_a_name_that_could_be_a_path_is_refused_in_a_sentence_that_says_what_a_name_is() -> None:
    with pytest.raises(InvalidName) as caught:
        check_model("../x")
    assert str(caught.value) == (
        "'../x' is no model's name. Use 1 to 40 lower-case letters, digits and dashes, a letter first, no dash last."
    )


@given(
    st.sampled_from(["promotion", "rollback", "revert"]),
    st.integers(1, 10**6),
    st.none() | st.text("0123456789abcdef", min_size=12, max_size=12),
)
def test_a_branch_says_what_it_is_for(purpose: str, version: int, over: str | None) -> None:
    name = BranchName(purpose, version, over)  # type: ignore[arg-type]  # one of the three
    assert (
        parse_branch(name.text("flight-delay", "production"), "flight-delay", "production") == name
    )


@pytest.mark.parametrize(
    "name",
    [
        "main",
        "ratchet/flight-delay/production/mine",
        "ratchet/flight-delay/staging/v9-first",
        "ratchet/other/production/v9-first",
        "v9-first",
    ],
)
def test_another_branch_is_not_ours(name: str) -> None:
    assert parse_branch(name, "flight-delay", "production") is None


def test_the_first_files_are_what_the_gitops_layout_asks_for() -> None:
    files = first_files("flight-delay", "production", replicas=3)
    kustomization = yaml.safe_load(
        files["gitops/models/flight-delay/production/kustomization.yaml"]
    )
    flux = yaml.safe_load(files["gitops/clusters/production/flight-delay.yaml"])
    assert kustomization["resources"] == ["../../base", "release.yaml"]
    assert kustomization["components"] == ["../../release"]
    assert kustomization["nameSuffix"] == "-flight-delay"
    assert kustomization["labels"] == [
        {"pairs": {"app.kubernetes.io/name": "flight-delay"}, "includeSelectors": True}
    ]
    assert kustomization["replicas"] == [{"name": "server", "count": 3}]
    assert flux["metadata"]["name"] == "flight-delay"
    assert flux["spec"]["path"] == "./gitops/models/flight-delay/production"
    assert (
        flux["spec"]["wait"],
        flux["spec"]["prune"],
        flux["spec"]["timeout"],
        flux["spec"]["retryInterval"],
    ) == (True, True, "3m", "30s")


def verdict(comparisons: int) -> Verdict:
    interval = Interval(estimate=0.013, lower=0.006, upper=0.019, confidence=0.95)
    figures = [
        Comparison(
            metric="log_loss",
            where="all rows" if number == 0 else f"origin = {number}",
            champion=0.45,
            challenger=0.437,
            improvement=interval,
            rows=6000,
            groups=7,
            effective_groups=6.9,
        )
        for number in range(comparisons)
    ]
    reasons = tuple(
        Reason(rule="slice", outcome="pass", sentence=f"slice {number} is fine.")
        for number in range(comparisons)
    )
    return Verdict(
        outcome="promote",
        kind="refresh",
        model="flight-delay",
        challenger=8,
        champion=7,
        snapshot_id="sha256:" + "d" * 64,
        policy_digest="sha256:" + "e" * 64,
        comparisons=tuple(figures),
        reasons=reasons,
    )


def test_a_title_is_the_gates_figure() -> None:
    assert title(verdict(1)) == "flight-delay v8: log loss improves by 0.013 [0.006, 0.019]"


@pytest.mark.parametrize("comparisons", [1, 60])
def test_a_body_is_under_80_lines_and_ends_with_how_to_undo_it(comparisons: int) -> None:
    text = body(
        verdict(comparisons),
        owner="@acme/ml-platform",
        recipe="unchanged since v7",
        links=[("run of v8", "http://mlflow.test/run")],
        release=RELEASE,
    )
    assert len(text.splitlines()) < 80
    assert 'promote rollback flight-delay --reason "…"' in text
    assert "[run of v8](http://mlflow.test/run)" in text
    assert "@acme/ml-platform, please review" in text
    assert ("promote explain flight-delay 8" in text) == (comparisons == 60)
