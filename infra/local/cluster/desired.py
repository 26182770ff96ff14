"""What gitops/ wants to run, read as data: Flux Kustomizations → overlays → releases. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from pydantic import ValidationError

from promote.contract import Release
from retrain.contract import MODEL_NAME

Tree = Mapping[str, bytes]
"""A commit's files below gitops/, by path from the repository's root."""

IMAGE = re.compile(
    r"(?P<repository>[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*)@(?P<digest>sha256:[0-9a-f]{64})"
)


class Unreadable(ValueError):
    """A manifest is not what Flux and kustomize would accept; the message names the file."""


@dataclass(frozen=True)
class Workload:
    """One model's servers as git wants them."""

    name: str
    """Of the Deployment: `server-flight-delay`."""
    release: Release
    replicas: int = 1

    @property
    def image_digest(self) -> str:
        """Of the image that the release names."""
        return self.release.image.partition("@")[2]


@dataclass(frozen=True)
class Desired:
    """What one commit wants; a model that cannot be read is a problem and not an absence."""

    workloads: dict[str, Workload] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def read_desired(tree: Tree, *, environment: str) -> Desired:
    """Return every model's workload, or what is wrong with its files.

    Raises:
        Unreadable: The environment itself cannot be read: nothing is known about any model.
    """
    paths = model_paths(tree, environment)
    workloads: dict[str, Workload] = {}
    problems: dict[str, str] = {}
    for model, path in paths.items():
        try:
            workloads[model] = read_workload(tree, model, path)
        except Unreadable as problem:
            problems[model] = str(problem)
    return Desired(workloads, problems)


def model_paths(tree: Tree, environment: str) -> dict[str, str]:
    """Return the overlay's folder of each model that the environment's Flux objects name.

    Raises:
        Unreadable: The environment has no folder, or a file in it is not YAML.
    """
    folder = f"gitops/clusters/{environment}/"
    files = sorted(
        path for path in tree if path.startswith(folder) and path.endswith((".yaml", ".yml"))
    )
    if not files:
        raise Unreadable(f"{folder} has no manifest: is {environment} the name of an environment?")
    found: dict[str, str] = {}
    for path in files:
        for manifest in _documents(tree, path):
            if manifest.get("kind") == "Kustomization" and str(
                manifest.get("apiVersion", "")
            ).startswith("kustomize.toolkit.fluxcd.io/"):
                target = posixpath.normpath(
                    str(_mapping(manifest.get("spec"), path).get("path", ""))
                )
                if match := re.fullmatch(
                    rf"gitops/models/({MODEL_NAME})/{re.escape(environment)}", target
                ):
                    found[match[1]] = target
    return found


def read_workload(tree: Tree, model: str, folder: str) -> Workload:
    """Return what an overlay wants to run.

    Raises:
        Unreadable: A file is missing or says something that no release may say.
    """
    path = f"{folder}/kustomization.yaml"
    overlay = _document(tree, path)
    for reference in [*overlay.get("resources", []), *overlay.get("components", [])]:
        _resolve(tree, folder, str(reference), path)
    return Workload(
        name=f"server{overlay.get('nameSuffix', '')}",
        release=read_release(tree, model, f"{folder}/release.yaml"),
        replicas=_replicas(overlay, path),
    )


def read_release(tree: Tree, model: str, path: str) -> Release:
    """Return the release that a release.yaml names.

    Raises:
        Unreadable: It is missing, or a value is not a release's.
    """
    values = _mapping(_document(tree, path).get("data"), path)
    wrong = sorted(str(name) for name, value in values.items() if not isinstance(value, str))
    if wrong:
        raise Unreadable(f"{path}: every value is a quoted string; {', '.join(wrong)} is not")
    if not IMAGE.fullmatch(values.get("image", "")):
        raise Unreadable(f"{path}: image should be repository@sha256:…, is {values.get('image')!r}")
    try:
        return Release.model_validate(
            {
                "model": model,
                "version": values.get("version"),
                "image": values["image"],
                "model_digest": values.get("model_digest"),
                "verdict_digest": values.get("verdict"),
            }
        )
    except ValidationError as problem:
        reasons = "; ".join(
            f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in problem.errors()
        )
        raise Unreadable(f"{path}: {reasons}") from problem


def _replicas(overlay: Mapping[str, Any], path: str) -> int:
    for entry in overlay.get("replicas", []):
        if _mapping(entry, path).get("name") == "server":
            count = entry.get("count")
            if not isinstance(count, int) or count < 1:
                raise Unreadable(f"{path}: replicas should be a number from 1, is {count!r}")
            return count
    return 1


def _resolve(tree: Tree, folder: str, reference: str, path: str) -> None:
    target = posixpath.normpath(f"{folder}/{reference}")
    if target not in tree and f"{target}/kustomization.yaml" not in tree:
        raise Unreadable(f"{path} refers to {reference}, and {target} is not in git")


def _document(tree: Tree, path: str) -> dict[str, Any]:
    documents = _documents(tree, path)
    if len(documents) != 1:
        raise Unreadable(f"{path} should hold one document, holds {len(documents)}")
    return documents[0]


def _documents(tree: Tree, path: str) -> list[dict[str, Any]]:
    if path not in tree:
        raise Unreadable(f"{path} is not in git")
    try:
        return [
            _mapping(document, path)
            for document in yaml.safe_load_all(tree[path].decode())
            if document is not None
        ]
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as problem:
        raise Unreadable(f"{path} is not YAML: {problem}") from problem


def _mapping(value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable(f"{path}: expected a mapping, found {type(value).__name__}")
    return value
