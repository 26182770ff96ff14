"""Builds the cluster's programs from the Go modules beside this file, once for each go.sum."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.local.kubernetes.errors import BuildFailed

MODULES = Path(__file__).parent


@dataclass(frozen=True)
class Binary:
    """A program: the folder of the module that names its version, and its package."""

    name: str
    module: str
    package: str


BINARIES = (
    Binary("pause", "tools", "./pause"),
    Binary("answer", "tools", "./answer"),
    Binary("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    Binary("kube-apiserver", "kube", "k8s.io/kubernetes/cmd/kube-apiserver"),
    Binary("kube-controller-manager", "kube", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    Binary("kube-scheduler", "kube", "k8s.io/kubernetes/cmd/kube-scheduler"),
    Binary("kubelet", "kube", "k8s.io/kubernetes/cmd/kubelet"),
    Binary("kube-proxy", "kube", "k8s.io/kubernetes/cmd/kube-proxy"),
    Binary("kubectl", "kube", "k8s.io/kubernetes/cmd/kubectl"),
    Binary("kustomize", "tools", "sigs.k8s.io/kustomize/kustomize/v5"),
    Binary("kustomize-controller", "flux", "github.com/fluxcd/kustomize-controller"),
    Binary("coredns", "tools", "github.com/coredns/coredns"),
)
_CRDS = "crds"
_GO = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}


def cache_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Return the folder of builds and of `make cluster-up`: RATCHET_CACHE, or XDG's cache folder.

    >>> cache_folder({"RATCHET_CACHE": "/var/cache/ratchet"})
    PosixPath('/var/cache/ratchet')
    """
    env = os.environ if environment is None else environment
    if chosen := env.get("RATCHET_CACHE"):
        return Path(chosen).absolute()
    return Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ratchet"


def build_key(modules: Path = MODULES) -> str:
    """Return the digest of all that decides the programs: modules, sums and our own Go files."""
    digest = hashlib.sha256(repr(BINARIES).encode())
    for path in sorted(
        path
        for pattern in ("*/go.mod", "*/go.sum", "*/*.txt", "*/*/*.go")
        for path in modules.glob(pattern)
    ):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(modules)} {content}\n".encode())
    return digest.hexdigest()[:16]


def built_folder() -> Path:
    """Return where the programs of these modules lie, or will."""
    return cache_folder() / f"cluster-{build_key()}"


def is_built(folder: Path | None = None) -> bool:
    """True when every program and Flux's CRDs are there."""
    where = folder or built_folder()
    return all((where / binary.name).exists() for binary in BINARIES) and (where / _CRDS).exists()


def build() -> Path:
    """Build what is missing, saying so for each program, and return the folder.

    Raises:
        BuildFailed: Go refused; the message carries the end of what it said.
    """
    folder = built_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        for number, binary in enumerate(BINARIES, start=1):
            if not (folder / binary.name).exists():
                _build_one(binary, folder, f"[{number:2}/{len(BINARIES)}]")
        if not (folder / _CRDS).exists():
            _copy_crds(folder)
    return folder


def crds(folder: Path) -> Path:
    """Return the folder of Flux's custom resource definitions in a built folder."""
    return folder / _CRDS


def kubernetes_version(modules: Path = MODULES) -> str:
    """Return the version that kube/go.mod names, with its v."""
    found = re.search(r"k8s\.io/kubernetes (v\S+)", (modules / "kube/go.mod").read_text())
    if found is None:
        raise BuildFailed("kube/go.mod names no version of k8s.io/kubernetes")
    return found.group(1)


def _build_one(binary: Binary, folder: Path, count: str) -> None:
    print(f"{count} {binary.name} …", end=" ", flush=True)
    began = time.monotonic()
    partial = folder / f".{binary.name}.partial"
    _go(
        binary.module,
        "build",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags",
        _link_flags(binary),
        "-o",
        str(partial),
        binary.package,
    )
    partial.rename(folder / binary.name)
    print(
        f"{time.monotonic() - began:.0f} s, {(folder / binary.name).stat().st_size / 1e6:.0f} MB",
        flush=True,
    )


def _link_flags(binary: Binary) -> str:
    if binary.module != "kube":
        return "-s -w"
    version = kubernetes_version()
    major, minor, _patch = version.removeprefix("v").split(".")
    settings = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    return " ".join(
        [
            "-s -w",
            *(
                f"-X k8s.io/component-base/version.{name}={value}"
                for name, value in settings.items()
            ),
        ]
    )


def _copy_crds(folder: Path) -> None:
    """Copy the CRDs from the two modules. source-controller is not built; a text has its sum."""
    module, checksum = (MODULES / "flux/source-controller.txt").read_text().split()
    source = json.loads(_go("flux", "mod", "download", "-json", module))
    if source["Sum"] != checksum:
        raise BuildFailed(
            f"{module} has the sum {source['Sum']}, flux/source-controller.txt says {checksum}"
        )
    kustomize = _go(
        "flux", "list", "-m", "-f", "{{.Dir}}", "github.com/fluxcd/kustomize-controller"
    ).strip()
    partial = folder / f".{_CRDS}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for module_folder in (kustomize, source["Dir"]):
        for path in sorted(Path(module_folder, "config/crd/bases").glob("*.yaml")):
            (partial / path.name).write_bytes(path.read_bytes())
    partial.rename(folder / _CRDS)


def _go(module: str, *arguments: str) -> str:
    done = subprocess.run(
        ["go", *arguments],
        cwd=MODULES / module,
        env={**os.environ, **_GO},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BuildFailed(
            f"go {' '.join(arguments)} in {module}/ ended with"
            f" {done.returncode}:\n{done.stderr[-2000:]}"
        )
    return done.stdout


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another build is running; waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
