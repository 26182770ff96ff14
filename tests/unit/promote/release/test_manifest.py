"""release.yaml to the byte, and what a pull request says."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from promote.contract import Release, Slot
from promote.errors import InvalidRelease
from promote.release.manifest import first_files, parse, render

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


def test_the_first_files_are_what_the_gitops_layout_asks_for() -> None:
    files = first_files(Slot("flight-delay", "production"), replicas=3)
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
