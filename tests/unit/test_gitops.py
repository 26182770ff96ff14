"""gitops/ as data: files parse, references exist, and `unset` stands where a release decides."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

import client_api.settings
import serving.settings
from infra.local.cluster.desired import read_desired
from promote.contract import Release, Slot
from promote.release.manifest import first_files, render
from promote.release.slot import release_path
from promote.settings import PromoteSettings
from retrain.contract import digest_of_bytes

ROOT = Path(__file__).resolve().parents[2]
GITOPS = ROOT / "gitops"
MANIFESTS = sorted(GITOPS.rglob("*.yaml"))
KUSTOMIZATIONS = sorted(path for path in MANIFESTS if path.name == "kustomization.yaml")


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def name_of(path: Path) -> str:
    return str(path.relative_to(GITOPS))


@pytest.mark.parametrize("path", MANIFESTS, ids=name_of)
def test_each_manifest_parses_names_its_kind_and_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 60
    for document in documents(path):
        assert {"apiVersion", "kind"} <= document.keys()


@pytest.mark.parametrize("path", KUSTOMIZATIONS, ids=name_of)
def test_what_a_kustomization_refers_to_exists_and_no_manifest_beside_it_is_forgotten(
    path: Path,
) -> None:
    (kustomization,) = documents(path)
    referred = {
        (path.parent / reference).resolve()
        for reference in [
            *kustomization.get("resources", []),
            *kustomization.get("components", []),
            *(patch["path"] for patch in kustomization.get("patches", []) if "path" in patch),
        ]
    }
    assert all(target.is_file() or (target / "kustomization.yaml").is_file() for target in referred)
    assert {manifest for manifest in path.parent.glob("*.yaml") if manifest != path} <= referred


@pytest.mark.parametrize("path", sorted((GITOPS / "clusters").rglob("*.yaml")), ids=name_of)
def test_what_flux_applies_exists_and_comes_from_the_one_repository(path: Path) -> None:
    names = {
        document["metadata"]["name"]
        for other in path.parent.glob("*.yaml")
        for document in documents(other)
    }
    for document in documents(path):
        if document["kind"] == "Kustomization":
            assert (ROOT / document["spec"]["path"]).is_dir()
            assert document["spec"]["sourceRef"] == {"kind": "GitRepository", "name": "ratchet"}
            assert {needed["name"] for needed in document["spec"].get("dependsOn", [])} <= names


def deployment() -> dict[str, Any]:
    return documents(GITOPS / "models" / "base" / "deployment.yaml")[0]


def value_at(value: Any, path: str) -> Any:
    """Follow a kustomize field path. `[name=x]` is an entry of a list, `[x]` a key with dots."""
    for step in re.findall(r"\[[^\]]+\]|[^.\[\]]+", path):
        if step.startswith("[") and "=" in step:
            key, _, wanted = step[1:-1].partition("=")
            (value,) = [entry for entry in value if entry[key] == wanted]
        else:
            value = value[step.strip("[]")]
    return value


def replacements() -> list[dict[str, Any]]:
    return list(documents(GITOPS / "models" / "release" / "kustomization.yaml")[0]["replacements"])


def test_every_place_that_a_release_fills_exists_and_says_unset() -> None:
    targets = [
        (target["select"], path)
        for replacement in replacements()
        for target in replacement["targets"]
        for path in target["fieldPaths"]
    ]
    assert len(targets) >= 7
    for select, path in targets:
        assert select == {"kind": "Deployment", "name": deployment()["metadata"]["name"]}
        assert value_at(deployment(), path) == "unset", path


def test_every_place_that_says_unset_is_filled() -> None:
    text = re.sub(r"#.*", "", (GITOPS / "models" / "base" / "deployment.yaml").read_text())
    assert text.count("unset") == sum(
        len(target["fieldPaths"])
        for replacement in replacements()
        for target in replacement["targets"]
    )


def release() -> Release:
    digests = [digest_of_bytes(what) for what in (b"image", b"model", b"verdict")]
    image = f"ratchet/flight-delay@{digests[0]}"
    return Release(
        model="flight-delay",
        version=8,
        image=image,
        model_digest=digests[1],
        verdict_digest=digests[2],
    )


def test_a_release_fills_the_places_from_values_that_promote_writes() -> None:
    written = yaml.safe_load(render(release()))
    assert written["metadata"] == {
        "name": "release",
        "annotations": {"config.kubernetes.io/local-config": "true"},
    }
    for replacement in replacements():
        source = replacement["source"]
        assert (source["kind"], source["name"]) == (written["kind"], "release")
        assert isinstance(value_at(written, source["fieldPath"]), str)


def test_the_first_pull_request_of_a_model_is_complete() -> None:
    tree = {str(path.relative_to(ROOT)): path.read_bytes() for path in MANIFESTS}
    tree |= first_files(Slot("flight-delay", "production"), replicas=2) | {
        release_path(Slot("flight-delay", "production")): render(release())
    }
    desired = read_desired(tree, environment="production")
    assert desired.problems == {}
    assert desired.workloads["flight-delay"].release == release()


def test_images_are_named_by_digest_or_by_a_name_that_every_environment_gives_a_digest() -> None:
    found = {
        image
        for path in MANIFESTS
        for image in re.findall(r"^\s*image: ([^\s#]+)", path.read_text(), flags=re.MULTILINE)
    }
    given = [
        document["images"]
        for path in KUSTOMIZATIONS
        for document in documents(path)
        if "images" in document
    ]
    assert found == {"unset"} | {entry["name"] for entries in given for entry in entries}
    for entry in (entry for entries in given for entry in entries):
        assert entry.keys() == {"name", "newName", "digest"}
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", entry["digest"])


def test_a_server_replaces_another_only_after_it_stayed_ready() -> None:
    spec = deployment()["spec"]
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert spec["minReadySeconds"] == 20
    (container,) = spec["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert (
        container["lifecycle"]["preStop"]["sleep"]["seconds"]
        < spec["template"]["spec"]["terminationGracePeriodSeconds"]
    )


def test_a_server_runs_restricted() -> None:
    pod = deployment()["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def settings_of(name: str, prefix: str) -> set[str]:
    """A Deployment's settings for its container, with the ConfigMaps of all environments."""
    (container,) = [
        container
        for path in MANIFESTS
        for document in documents(path)
        if document["kind"] == "Deployment"
        for container in document["spec"]["template"]["spec"]["containers"]
        if container["name"] == name
    ]
    literals = [
        literal.partition("=")[0]
        for path in KUSTOMIZATIONS
        for made in documents(path)[0].get("configMapGenerator", [])
        if made["name"] == name
        for literal in made["literals"]
    ]
    given = {variable["name"] for variable in container["env"]} | (
        set(literals) if "envFrom" in container else set()
    )
    return {setting.removeprefix(prefix).lower() for setting in given if setting != "HOME"}


@pytest.mark.parametrize(
    ("name", "prefix", "settings"),
    [
        ("server", "SERVING_", serving.settings.Settings),
        ("gateway", "CLIENT_API_", client_api.settings.Settings),
        ("promote", "PROMOTE_", PromoteSettings),
    ],
)
def test_pods_are_given_settings_that_exist_and_all_that_have_no_default(
    name: str, prefix: str, settings: type[BaseSettings]
) -> None:
    given = settings_of(name, prefix)
    assert given <= settings.model_fields.keys()
    assert {
        field for field, declared in settings.model_fields.items() if declared.is_required()
    } <= given


def test_productions_settings_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    (kustomization,) = documents(GITOPS / "platform" / "production" / "kustomization.yaml")
    for literal in [
        literal for made in kustomization["configMapGenerator"] for literal in made["literals"]
    ]:
        monkeypatch.setenv(*literal.split("=", 1))
    monkeypatch.setenv("PROMOTE_FORGE_TOKEN", "token")
    settings = PromoteSettings()
    assert (settings.cluster_url, settings.environment, settings.host) == (
        "in-cluster",
        "production",
        "0.0.0.0",
    )
    assert re.fullmatch(r"ratchet/serving@sha256:[0-9a-f]{64}", settings.base_image)
