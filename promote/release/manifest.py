"""The files of a slot to the byte: release.yaml, and what its first pull request adds. Pure."""

from __future__ import annotations

import re

from pydantic import ValidationError

from promote.contract import Release, Slot
from promote.errors import InvalidRelease

_VALUE = re.compile(r'^  (image|model_digest|verdict|version): "([^"\n\\]*)"$', re.MULTILINE)
_IMAGE = re.compile(r"[\w./:-]+@sha256:[0-9a-f]{64}")
_RELEASE = """\
# Written by promote. Changed by pull requests only: what this file says on main is what runs.
apiVersion: v1
kind: ConfigMap
metadata:
  name: release
  annotations:
    config.kubernetes.io/local-config: "true"
data:
  image: "{image}"
  model_digest: "{model_digest}"
  verdict: "{verdict}"
  version: "{version}"
"""

_KUSTOMIZATION = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: models
nameSuffix: -{model}
resources:
  - ../../base
  - release.yaml
components:
  - ../../release
labels:
  - pairs:
      app.kubernetes.io/name: {model}
    includeSelectors: true
replicas:
  - name: server
    count: {replicas}
"""

_FLUX = """\
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: {model}
  namespace: flux-system
spec:
  dependsOn:
    - name: platform
  interval: 10m
  retryInterval: 30s
  timeout: 3m
  path: ./gitops/models/{model}/{environment}
  prune: true
  wait: true
  sourceRef:
    kind: GitRepository
    name: ratchet
"""


def render(release: Release) -> bytes:
    """Return the bytes of release.yaml; equal releases have equal bytes."""
    return _RELEASE.format(
        image=release.image,
        model_digest=release.model_digest,
        verdict=release.verdict_digest,
        version=release.version,
    ).encode()


def parse(content: bytes, model: str) -> Release:
    """Return the release of a release.yaml that `render` wrote.

    Raises:
        InvalidRelease: Any other bytes.
    """
    values = dict(_VALUE.findall(content.decode(errors="replace")))
    try:
        release = Release(
            model=model,
            version=int(values["version"]),
            image=values["image"],
            model_digest=values["model_digest"],
            verdict_digest=values["verdict"],
        )
    except (KeyError, ValueError, ValidationError) as error:
        lacks = "lacks image, model_digest, verdict or version, or has a wrong value there"
        raise InvalidRelease(f"release.yaml of {model} {lacks}. Revert the commit.") from error
    if render(release) != content or not _IMAGE.fullmatch(release.image):
        form = "is not in the form that promote writes"
        raise InvalidRelease(f"release.yaml of {model} {form}. Revert the commit.")
    return release


def first_files(slot: Slot, *, replicas: int = 2) -> dict[str, bytes]:
    """Return what the first pull request adds beside release.yaml: an overlay and a Flux object."""
    model, environment = slot.model, slot.environment
    overlay = _KUSTOMIZATION.format(model=model, replicas=replicas)
    flux = _FLUX.format(model=model, environment=environment)
    return {
        f"gitops/models/{model}/{environment}/kustomization.yaml": overlay.encode(),
        f"gitops/clusters/{environment}/{model}.yaml": flux.encode(),
    }
