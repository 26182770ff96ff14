"""Kubernetes objects of gitops/, as written and as kustomize builds them."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from promote.contract import Release, Slot
from promote.release.manifest import first_files, render
from promote.release.slot import release_path
from retrain.contract import digest_of_bytes
from tests.grounds.apiserver import program

Object = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
MODEL = "flight-delay"
ENVIRONMENTS = ("local", "production")


def documents(path: Path) -> list[Object]:
    """Return the objects of a file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document is not None]


@functools.cache
def written() -> list[Object]:
    """Return every object of gitops/ before any overlay, without kustomize's own files.

    MLflow and Airflow (platform/training) have rules of their own, in
    tests/integration/test_training.py.
    """
    found = [
        document
        for path in sorted((ROOT / "gitops").rglob("*.yaml"))
        if path.parent.name != "training"
        for document in documents(path)
    ]
    return [
        document
        for document in found
        if not document["apiVersion"].startswith("kustomize.config.k8s.io/")
    ]


def release(version: int = 8, model: str = MODEL) -> Release:
    """Return a release as a promotion would name it."""
    image, content, verdict = (
        digest_of_bytes(f"{what} {version}".encode()) for what in ("image", "model", "verdict")
    )
    return Release(
        model=model,
        version=version,
        image=f"127.0.0.1:5000/ratchet/{model}@{image}",
        model_digest=content,
        verdict_digest=verdict,
    )


def tree_with_model(folder: Path, *, model: str = MODEL) -> Path:
    """Write gitops/ as it is after the first pull request of a model in every environment."""
    shutil.copytree(ROOT / "gitops", folder / "gitops", dirs_exist_ok=True)
    for environment in ENVIRONMENTS:
        files = first_files(Slot(model, environment)) | {
            release_path(Slot(model, environment)): render(release(model=model))
        }
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
    return folder


def overlays(environment: str, model: str = MODEL) -> tuple[str, ...]:
    """Return the folders that Flux builds in an environment, in the order of their use."""
    return (
        "gitops/platform",
        f"gitops/platform/{environment}",
        f"gitops/models/{model}/{environment}",
    )


def kustomize(folder: Path) -> list[Object]:
    """Return what `kustomize build` makes of a folder. Skip the test without kustomize."""
    done = subprocess.run(
        [_kustomize(), "build", str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # kustomize writes its warnings there
    return [document for document in yaml.safe_load_all(done.stdout) if document is not None]


def _kustomize() -> str:
    return os.environ.get("RATCHET_KUSTOMIZE") or str(program("kustomize"))


def applied_by_cluster(tree: Path, environment: str, folder: Path) -> list[Object]:
    """Return what the Flux Kustomization `cluster` applies.

    As in kustomize-controller, these are the files of its folder with its own patches.
    """
    source = tree / "gitops" / "clusters" / environment
    shutil.copytree(source, folder)
    (cluster,) = [
        found
        for path in folder.glob("*.yaml")
        for found in documents(path)
        if found["metadata"]["name"] == "cluster"
    ]
    files = sorted(path.name for path in folder.glob("*.yaml"))
    made = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": files,
        "patches": cluster["spec"].get("patches", []),
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(made))
    return kustomize(folder)


def skip_without_kustomize() -> None:
    """Skip the test here, with the reason, when kustomize is missing."""
    if not shutil.which(_kustomize()):
        pytest.skip("RATCHET_KUSTOMIZE names no program")
