"""A real kube-apiserver and etcd with Flux's CRDs, without kubelet and controllers.

`make cluster-build` builds the programs.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from infra.local.processes import free_port, start, wait_until_answers

NEEDED = ("etcd", "kube-apiserver", "kubectl", "crds")


def program(name: str) -> Path:
    """Return a program of the laptop's Kubernetes. Skip the test when it was not built here."""
    cache = Path(
        os.environ.get("RATCHET_CACHE")
        or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ratchet"
    )
    found = sorted(cache.glob(f"cluster-*/{name}"), key=lambda path: path.stat().st_mtime)
    if not found:
        pytest.skip(f"{name} is not in {cache}: make cluster-build")
    return found[-1]


@dataclass(frozen=True)
class ApiServer:
    """A running API server and the kubeconfigs of its users."""

    url: str
    folder: Path

    @property
    def admin(self) -> Path:
        """The kubeconfig of who may do everything."""
        return self.kubeconfig((self.folder / "token").read_text())

    def kubeconfig(self, token: str) -> Path:
        """Return a kubeconfig with a bearer token."""
        path = self.folder / f"kubeconfig-{abs(hash(token))}"
        cluster = {
            "server": self.url,
            "certificate-authority": str(self.folder / "certificates" / "apiserver.crt"),
        }
        parts = {
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": token}}],
        }
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    **parts,
                    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "x",
                }
            )
        )
        return path

    def kubectl(
        self, *arguments: str, objects: list[dict[str, Any]] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as admin, with objects on its stdin."""
        given = None if objects is None else yaml.safe_dump_all(objects)
        command = [str(program("kubectl")), "--kubeconfig", str(self.admin), *arguments]
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, timeout=120, check=False
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def patch_status(self, path: str, status: dict[str, Any]) -> None:
        """Write an object's status as its controller would."""
        self.call("PATCH", f"{path}/status", {"status": status}, "application/merge-patch+json")

    def call(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json"
    ) -> Any:
        """Ask the API as admin."""
        headers = {
            "authorization": f"Bearer {(self.folder / 'token').read_text()}",
            "content-type": content_type,
        }
        request = urllib.request.Request(
            self.url + path,
            None if body is None else json.dumps(body).encode(),
            headers,
            method=method,
        )
        tls = ssl.create_default_context(cafile=str(self.folder / "certificates" / "apiserver.crt"))
        try:
            with urllib.request.urlopen(request, timeout=30, context=tls) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refusal:
            with refusal:
                raise AssertionError(
                    f"{method} {path}: {refusal.code} {refusal.read().decode()}"
                ) from None


@contextlib.contextmanager
def running() -> Iterator[ApiServer]:
    """Start etcd and the API server with Flux's CRDs; end both."""
    programs = {name: program(name) for name in NEEDED}
    with (
        tempfile.TemporaryDirectory(prefix="ratchet-apiserver-") as made,
        contextlib.ExitStack() as running_programs,
    ):
        folder = Path(made)
        etcd_url, peer_url, port = (
            f"http://127.0.0.1:{free_port()}",
            f"http://127.0.0.1:{free_port()}",
            free_port(),
        )
        where = [
            "--data-dir",
            str(folder / "etcd"),
            "--listen-client-urls",
            etcd_url,
            "--advertise-client-urls",
            etcd_url,
            "--listen-peer-urls",
            peer_url,
        ]
        more = [
            "--initial-advertise-peer-urls",
            peer_url,
            "--initial-cluster",
            f"default={peer_url}",
            "--unsafe-no-fsync",
            "--log-level",
            "error",
        ]
        etcd = start("etcd", [str(programs["etcd"]), *where, *more], log=folder / "etcd.log")
        running_programs.callback(etcd.stop)
        wait_until_answers(etcd, f"{etcd_url}/health", timeout_seconds=60)
        server = ApiServer(f"https://127.0.0.1:{port}", folder)
        api = start(
            "kube-apiserver",
            [str(programs["kube-apiserver"]), *_flags(folder, etcd_url, port)],
            log=folder / "apiserver.log",
        )
        running_programs.callback(api.stop)
        _wait_until_ready(server, api)
        server.kubectl("apply", "--server-side", "-f", str(programs["crds"]))
        server.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
        yield server


def _flags(folder: Path, etcd_url: str, port: int) -> list[str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    (folder / "accounts.key").write_bytes(pem)
    token = secrets.token_hex(16)
    (folder / "token").write_text(token)
    (folder / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
    flags = {
        "etcd-servers": etcd_url,
        "secure-port": port,
        "bind-address": "127.0.0.1",
        "advertise-address": "127.0.0.1",
        "cert-dir": folder / "certificates",
        "authorization-mode": "RBAC",
        "token-auth-file": folder / "tokens.csv",
        "service-account-issuer": "https://ratchet.test",
        "service-account-key-file": folder / "accounts.key",
        "service-account-signing-key-file": folder / "accounts.key",
        "service-cluster-ip-range": "10.250.0.0/24",
        "disable-admission-plugins": "ServiceAccount",
        "profiling": "false",
    }
    return [f"--{name}={value}" for name, value in flags.items()]


def _wait_until_ready(server: ApiServer, api: Any) -> None:
    until = time.monotonic() + 120
    while True:
        try:
            server.call("GET", "/api/v1/namespaces/default")
            return
        except (OSError, AssertionError, ssl.SSLError) as problem:
            if time.monotonic() > until or api.process.poll() is not None:
                tail = (server.folder / "apiserver.log").read_text()[-3000:]
                raise AssertionError(f"kube-apiserver is not ready: {problem}\n{tail}") from problem
            time.sleep(0.3)  # bounded by `until`
