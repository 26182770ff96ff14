"""The demo with a real Kubernetes and Flux.

Servers and gateway are pods of built images. All other programs run on the host.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.images.build import build, push, with_digest
from infra.local.kubernetes.cluster import Cluster, start_cluster
from infra.local.processes import free_port, wait_until_answers
from infra.local.root import ROOT
from infra.local.stack.laptop import MODEL, Laptop
from infra.local.stack.reviewer import REPOSITORY
from infra.local.stack.terminal import say
from infra.local.stack.web import wait_for

PUBLIC_REPOSITORY = "https://github.com/acme/ratchet"
"""What gitops/clusters/local says; the forge stands for it."""
_OVERLAY = Path("gitops/platform/local/kustomization.yaml")


@dataclass
class KubernetesLaptop(Laptop):
    """One demo on a cluster of its own."""

    patience_seconds: float = 300
    """A rollout is two servers, one after the other, each pulled, warmed up and watched."""
    cluster: Cluster | None = None
    base_image: str = ""
    serving_token: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    @property
    def running(self) -> Cluster:
        """The cluster, once it was started."""
        if self.cluster is None:
            raise RuntimeError("the cluster was not started")
        return self.cluster

    @property
    def seed(self) -> Path:
        """The first content of main: this repository's folders, with the gateway image's digest."""
        return self.folder / "seed"

    @property
    def promote_env(self) -> dict[str, str]:
        """As on the laptop, but for cluster, images and environment."""
        cluster = self.running
        return {
            **super().promote_env,
            "PROMOTE_ENVIRONMENT": "local",
            "PROMOTE_IMAGES": cluster.registry_url,
            "PROMOTE_BASE_IMAGE": self.base_image,
            "PROMOTE_CLUSTER_URL": "kubeconfig",
            "KUBECONFIG": str(cluster.kubeconfig),
            "PROMOTE_ROLLOUT_DEADLINE_SECONDS": "240",
        }

    def start_stores(self) -> None:
        """The cluster with its registry and images first: main begins with their digests."""
        self.cluster = start_cluster(self.folder / "kubernetes", say=lambda line: say(f"   {line}"))
        pushed = {name: self._image(name) for name in ("serving", "client_api")}
        self.base_image = pushed["serving"].partition("/")[2]
        self.write_seed(pushed["client_api"])
        super().start_stores()

    def write_seed(self, gateway_image: str) -> None:
        """Lay what main begins with."""
        for name in ("dags", "gitops"):
            shutil.copytree(
                ROOT / name, self.seed / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        subprocess.run(
            ["git", "init", "--quiet", str(self.seed)], check=True
        )  # or the folder counts as ignored by the checkout around it
        overlay = self.seed / _OVERLAY
        overlay.write_text(
            with_digest(overlay.read_text(encoding="utf-8"), "client_api", gateway_image),
            encoding="utf-8",
        )

    def start_services(self) -> None:
        """Flux from main, what is not in git, the promotion service; the gateway comes as a pod."""
        cluster, port = self.running, free_port()
        self.cluster_url, self.promote_url = cluster.api_url, f"http://127.0.0.1:{port}"
        cluster.serve_repository(PUBLIC_REPOSITORY, f"{self.forge_url}/{REPOSITORY}.git")
        cluster.kubectl("apply", "-f", str(self.seed / "gitops/platform/namespaces.yaml"))
        for namespace in ("models", "gateway"):
            self._secret(namespace, "serving-token", token=self.serving_token)
        self._secret("gateway", "client-keys", keys=self.key)
        cluster.kubectl("apply", "-f", str(self.seed / "gitops/clusters/local"))
        promote = self.start_promote()
        found = wait_for(
            "the gateway's Service, applied by Flux",
            self._gateway,
            timeout_seconds=self.patience_seconds,
        )
        self.gateway_url = f"http://{found}"
        wait_until_answers(promote, f"{self.promote_url}/health")

    def deployment(self) -> dict[str, Any]:
        """The model's Deployment, as the API server has it."""
        return dict(
            json.loads(
                self.running.kubectl(
                    "get", "deployment", f"server-{MODEL}", "--namespace=models", "--output=json"
                )
            )
        )

    def wait_for_end_of_rollout(self) -> None:
        """Wait until the last pod of another image is gone. Until then it may answer."""
        image = self.deployment()["spec"]["template"]["spec"]["containers"][0]["image"]
        wait_for(
            "the end of the old pods",
            lambda: True if self._images() == {image} else None,
            timeout_seconds=self.patience_seconds,
        )

    def stop(self) -> None:
        """End the cluster, then everything else."""
        try:
            if self.cluster is not None:
                self.cluster.stop()
        finally:
            super().stop()

    def _images(self) -> set[str]:
        pods = json.loads(
            self.running.kubectl("get", "pods", "--namespace=models", "--output=json")
        )["items"]
        return {
            pod["spec"]["containers"][0]["image"]
            for pod in pods
            if pod["metadata"]["name"].startswith(f"server-{MODEL}-")
        }

    def _gateway(self) -> str | None:
        services = self.running.kubectl(
            "get",
            "service",
            "gateway",
            "--namespace=gateway",
            "--ignore-not-found",
            "--output=json",
        )
        return str(json.loads(services)["spec"]["clusterIP"]) if services else None

    def _secret(self, namespace: str, name: str, **values: str) -> None:
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "stringData": values,
        }
        self.running.kubectl("apply", "-f", "-", stdin=json.dumps(secret))

    def _image(self, name: str) -> str:
        image = build(name)
        reference = push(image, f"{self.running.registry}/ratchet", plain=True)
        say(f"   {reference} ({image.size_bytes / 1e6:.0f} MB)")
        return reference
