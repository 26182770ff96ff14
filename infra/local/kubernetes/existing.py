"""A cluster that exists already, named by KUBECONFIG: looked at, never changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from infra.local.kubernetes.build import built_folder
from infra.local.kubernetes.errors import ClusterUnusable, MachineLacks

_DEFINITIONS = (
    "gitrepositories.source.toolkit.fluxcd.io",
    "kustomizations.kustomize.toolkit.fluxcd.io",
)


def describe(kubeconfig: Path) -> str:
    """Return what the cluster is, in a line.

    Raises:
        MachineLacks: No kubectl.
        ClusterUnusable: No such file, no answer, no permission, or no Flux in it.
    """
    if not kubeconfig.exists():
        raise ClusterUnusable(
            f"KUBECONFIG names {kubeconfig}, which does not exist; unset it for a cluster of our"
            " own"
        )
    version = json.loads(_kubectl(kubeconfig, "version", "--output=json"))["serverVersion"][
        "gitVersion"
    ]
    definitions = _kubectl(kubeconfig, "get", "customresourcedefinitions", "--output=name")
    missing = [name for name in _DEFINITIONS if name not in definitions]
    if missing:
        raise ClusterUnusable(
            f"the cluster of {kubeconfig} has no {', '.join(missing)}: install Flux in it"
            " (https://fluxcd.io/flux/installation)"
        )
    return f"{kubeconfig}: Kubernetes {version} with Flux; nothing built, nothing started"


def _kubectl(kubeconfig: Path, *arguments: str) -> str:
    built = built_folder() / "kubectl"
    program = str(built) if built.exists() else shutil.which("kubectl")
    if program is None:
        raise MachineLacks("kubectl: https://kubernetes.io/docs/tasks/tools, or make cluster-build")
    command = [program, f"--kubeconfig={kubeconfig}", "--request-timeout=10s", *arguments]
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "KUBECACHEDIR": cache},
        )
    if done.returncode != 0:
        raise ClusterUnusable(
            f"the cluster of {kubeconfig} does not serve: {done.stderr.strip()[-500:]}"
        )
    return done.stdout
