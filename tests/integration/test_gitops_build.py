"""Every overlay as kustomize builds it, after a model's first pull request and a later one."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from infra.images.build import NAMES, with_digest
from promote.contract import Slot
from promote.release.manifest import first_files, render
from promote.release.slot import release_path
from tests.grounds.manifest_rules import AS_BUILT, Object, kind, violations
from tests.grounds.manifests import (
    ENVIRONMENTS,
    MODEL,
    applied_by_cluster,
    kustomize,
    overlays,
    release,
    tree_with_model,
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree_with_model(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def built(request: pytest.FixtureRequest, tree: Path) -> list[Object]:
    return [found for overlay in overlays(request.param) for found in kustomize(tree / overlay)]


def model_of(tree: Path, environment: str = "production", model: str = MODEL) -> list[Object]:
    return kustomize(tree / overlays(environment, model)[-1])


def deployment(objects: list[Object], name: str = f"server-{MODEL}") -> Any:
    (found,) = [found for found in kind(objects, "Deployment") if found["metadata"]["name"] == name]
    return found


def test_what_is_built_keeps_every_rule(built: list[Object]) -> None:
    assert violations(built, AS_BUILT) == []


def test_each_rule_about_what_is_built_can_fail(built: list[Object]) -> None:
    def changed(change: Any) -> list[str]:
        objects = copy.deepcopy(built)
        change(objects)
        return violations(objects, AS_BUILT)

    def tag(objects: list[Object]) -> None:
        deployment(objects)["spec"]["template"]["spec"]["containers"][0]["image"] = (
            "ratchet/flight-delay:v8"
        )

    def crowd(objects: list[Object]) -> None:
        del deployment(objects)["spec"]["template"]["spec"]["topologySpreadConstraints"]

    def rush(objects: list[Object]) -> None:
        (budget, *_) = kind(objects, "PodDisruptionBudget")
        budget["spec"]["maxUnavailable"] = 2

    def miss(objects: list[Object]) -> None:
        (budget, *_) = kind(objects, "PodDisruptionBudget")
        budget["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"] = "another"

    def disown(objects: list[Object]) -> None:
        del deployment(objects)["metadata"]["labels"]["app.kubernetes.io/part-of"]

    def select(objects: list[Object]) -> None:
        labels = {"app.kubernetes.io/managed-by": "flux"}
        deployment(objects)["spec"]["selector"]["matchLabels"] |= labels

    def annotate(objects: list[Object]) -> None:
        deployment(objects)["metadata"]["annotations"]["ratchet/verdict"] = "x"

    changes = (tag, crowd, rush, miss, disown, select, annotate)
    assert all(changed(change) for change in changes)


def test_names_do_not_collide_and_every_object_has_a_place(built: list[Object]) -> None:
    names = [
        (found["kind"], found["metadata"].get("namespace"), found["metadata"]["name"])
        for found in built
    ]
    assert len(names) == len(set(names))
    assert {found["kind"] for found in built if "namespace" not in found["metadata"]} == {
        "Namespace"
    }
    assert "release" not in [found["metadata"]["name"] for found in built]
    assert "unset" not in str(built)


def test_the_release_reaches_the_server(tree: Path) -> None:
    found, named = deployment(model_of(tree)), release()
    (container,) = found["spec"]["template"]["spec"]["containers"]
    environment = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert container["image"] == named.image
    assert environment["SERVING_MODEL_DIGEST"] == named.model_digest
    assert environment["SERVING_IMAGE_DIGEST"] == named.image.partition("@")[2]
    assert environment["SERVING_VERSION"] == "8"
    assert found["metadata"]["annotations"]["ratchet.internal/verdict"] == named.verdict_digest
    assert found["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/version"] == "8"
    assert found["spec"]["selector"] == {"matchLabels": {"app.kubernetes.io/name": MODEL}}


def test_the_gateways_name_reaches_every_model_and_only_servers(built: list[Object]) -> None:
    (service,) = [
        found for found in kind(built, "Service") if found["metadata"]["name"] == "servers"
    ]
    labels = {
        found["metadata"]["name"]: found["spec"]["template"]["metadata"]["labels"]
        for found in kind(built, "Deployment")
    }
    chosen = [
        name
        for name, given in labels.items()
        if service["spec"]["selector"].items() <= given.items()
    ]
    assert chosen == [f"server-{MODEL}"]
    (container,) = deployment(built, "gateway")["spec"]["template"]["spec"]["containers"]
    metadata, [port] = service["metadata"], service["spec"]["ports"]
    host = f"{metadata['name']}.{metadata['namespace']}.svc.cluster.local."
    place = f"dns:{host}:{port['port']}"
    assert {"name": "CLIENT_API_ENDPOINTS", "value": place} in container["env"]
    assert service["spec"]["clusterIP"] == "None"


def test_the_first_pull_request_adds_three_files_and_touches_none(tmp_path: Path) -> None:
    before = {
        path.relative_to(tmp_path): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    files = first_files(Slot("churn", "production")) | {
        release_path(Slot("churn", "production")): render(release(model="churn"))
    }
    tree = tree_with_model(tmp_path)
    assert len(files) == 3
    assert not any((tree / path).exists() for path in files)
    tree_with_model(tmp_path, model="churn")
    assert all((tree / path).exists() for path in files)
    assert before == {}
    assert {found["metadata"]["name"] for found in model_of(tree, model="churn")} == {
        "server-churn"
    }
    names = {
        found["metadata"]["name"]
        for found in applied_by_cluster(tree, "production", tmp_path / "built")
    }
    assert {"flight-delay", "churn", "platform", "services", "cluster", "ratchet"} <= names


def test_a_later_pull_request_changes_release_yaml_only_and_only_the_deployment_by_it(
    tmp_path: Path,
) -> None:
    tree = tree_with_model(tmp_path)
    before = model_of(tree)
    (tree / release_path(Slot(MODEL, "production"))).write_bytes(render(release(9)))
    after = model_of(tree)
    changed = [
        (old["kind"], new["metadata"]["name"])
        for old, new in zip(before, after, strict=True)
        if old != new
    ]
    assert changed == [("Deployment", f"server-{MODEL}")]
    assert deployment(before)["spec"]["selector"] == deployment(after)["spec"]["selector"]


def test_two_models_do_not_touch_each_others_objects(tmp_path: Path) -> None:
    tree = tree_with_model(tree_with_model(tmp_path), model="churn")
    first, second = (model_of(tree, model=model) for model in (MODEL, "churn"))
    assert not {(f["kind"], f["metadata"]["name"]) for f in first} & {
        (f["kind"], f["metadata"]["name"]) for f in second
    }
    assert deployment(second, "server-churn")["spec"]["selector"] == {
        "matchLabels": {"app.kubernetes.io/name": "churn"}
    }


def test_a_laptop_is_only_quicker_and_smaller(tree: Path, tmp_path: Path) -> None:
    assert model_of(tree, "local") == model_of(tree, "production")
    applied = {
        found["metadata"]["name"]: found
        for found in applied_by_cluster(tree, "local", tmp_path / "local")
    }
    production = {
        found["metadata"]["name"]: found
        for found in applied_by_cluster(tree, "production", tmp_path / "production")
    }
    assert "patches" not in production[MODEL]["spec"]
    (patch,) = applied[MODEL]["spec"]["patches"]
    assert patch["target"] == {"kind": "Deployment"}
    assert "minReadySeconds, value: 3" in patch["patch"]
    assert all("patches" not in applied[name]["spec"] for name in ("platform", "services"))
    assert (
        deployment(kustomize(tree / "gitops/platform/local"), "gateway")["spec"]["minReadySeconds"]
        == 3
    )


@pytest.mark.parametrize("name", ["client_api", "promote"])
def test_a_pushed_image_reaches_the_overlay_that_runs_it(tmp_path: Path, name: str) -> None:
    assert name in NAMES
    tree = tree_with_model(tmp_path)
    path = tree / "gitops/platform/production/kustomization.yaml"
    reference = f"127.0.0.1:5000/ratchet/{name}@sha256:{'7' * 64}"
    path.write_text(with_digest(path.read_text(), name, reference))
    images = [
        container["image"]
        for found in kind(kustomize(path.parent), "Deployment")
        for container in found["spec"]["template"]["spec"]["containers"]
    ]
    assert reference in images
    assert len(images) == 2


def test_an_overlay_that_does_not_build_says_so(tmp_path: Path) -> None:
    tree = tree_with_model(tmp_path)
    (tree / release_path(Slot(MODEL, "production"))).unlink()
    with pytest.raises(AssertionError, match=r"release\.yaml"):
        model_of(tree)
