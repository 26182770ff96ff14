"""What the cluster consists of: a component is a line of data. {words} are filled from `Places`."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from infra.local.kubernetes.certificates import Identity
from infra.local.kubernetes.network import Network

NODE = "ratchet"
CLUSTER_DNS_DOMAIN = "cluster.local"


@dataclass(frozen=True)
class Places:
    """Where everything is; what a component's words may name."""

    bin: str
    folder: str
    pki: str
    config: str
    host: str
    node: str
    pods: str
    services: str
    control_group: str
    plugins: str
    name: str = NODE
    domain: str = CLUSTER_DNS_DOMAIN
    python: str = sys.executable

    @classmethod
    def of(cls, folder: Path, binaries: Path, network: Network, plugins: Path) -> Places:
        """Return the places of a cluster in `folder`."""
        return cls(
            bin=str(binaries),
            folder=str(folder),
            pki=str(folder / "pki"),
            config=str(folder / "config"),
            host=network.host,
            node=network.node,
            pods=network.pods,
            services=network.services,
            control_group=network.link,
            plugins=str(plugins),
        )

    def fill(self, text: str) -> str:
        """Put the places into {words}."""
        return text.format_map(asdict(self))


@dataclass(frozen=True)
class Component:
    """A program of the cluster."""

    name: str
    command: str
    """Words and {places}; split at blanks after that is done per word."""
    probe: str
    """Asked from inside: a URL that answers 2xx, or unix:/path that accepts."""
    environment: dict[str, str] = field(default_factory=dict)
    is_inside: bool = True
    """False: it runs on the host, where the forge is."""

    def words(self, places: Places) -> list[str]:
        """Return the command with its places filled in."""
        return [places.fill(word) for word in self.command.split()]


_TLS = "--tls-cert-file={pki}/component.crt --tls-private-key-file={pki}/component.key"

STORES = (
    Component(
        "etcd",
        "{bin}/etcd --name={name} --data-dir={folder}/etcd --unsafe-no-fsync --log-level=warn"
        " --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379"
        " --listen-peer-urls=http://127.0.0.1:2380"
        " --initial-advertise-peer-urls=http://127.0.0.1:2380"
        " --initial-cluster={name}=http://127.0.0.1:2380",
        "http://127.0.0.1:2379/health",
    ),
    Component("registry", "docker-registry serve {config}/registry.yaml", "http://{node}:5000/v2/"),
    Component(
        "containerd",
        "containerd --config {config}/containerd.toml",
        "unix:/run/containerd/containerd.sock",
    ),
)
API = (
    Component(
        "apiserver",
        "{bin}/kube-apiserver --advertise-address={node} --secure-port=6443"
        " --etcd-servers=http://127.0.0.1:2379"
        " --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction"
        " --client-ca-file={pki}/ca.crt"
        " --tls-cert-file={pki}/apiserver.crt --tls-private-key-file={pki}/apiserver.key"
        " --service-cluster-ip-range={services}"
        " --service-account-issuer=https://kubernetes.default.svc.{domain}"
        " --service-account-key-file={pki}/accounts.pub"
        " --service-account-signing-key-file={pki}/accounts.key"
        " --kubelet-certificate-authority={pki}/ca.crt"
        " --kubelet-client-certificate={pki}/admin.crt --kubelet-client-key={pki}/admin.key"
        " --kubelet-preferred-address-types=InternalIP",
        "https://127.0.0.1:6443/readyz",
    ),
)
NODE_AND_CONTROLLERS = (
    Component(
        "kubelet",
        "{bin}/kubelet --config={config}/kubelet.yaml --kubeconfig={pki}/kubelet.kubeconfig"
        " --hostname-override={name} --node-ip={node}",
        "http://127.0.0.1:10248/healthz",
    ),
    Component(
        "controller-manager",
        "{bin}/kube-controller-manager --kubeconfig={pki}/controller-manager.kubeconfig"
        " --bind-address=127.0.0.1 --leader-elect=false"
        " --use-service-account-credentials"
        " --service-account-private-key-file={pki}/accounts.key --root-ca-file={pki}/ca.crt "
        + _TLS,
        "https://127.0.0.1:10257/healthz",
    ),
    Component(
        "scheduler",
        "{bin}/kube-scheduler --kubeconfig={pki}/scheduler.kubeconfig --bind-address=127.0.0.1"
        " --leader-elect=false " + _TLS,
        "https://127.0.0.1:10259/healthz",
    ),
    Component(
        "proxy", "{bin}/kube-proxy --config={config}/proxy.yaml", "http://127.0.0.1:10256/healthz"
    ),
    Component("dns", "{bin}/coredns -conf {config}/Corefile", "http://127.0.0.1:8080/health"),
)
FLUX = (
    Component(
        "kustomize-controller",
        "{bin}/kustomize-controller --metrics-addr=127.0.0.1:8081 --health-addr=127.0.0.1:9440"
        " --no-remote-bases --requeue-dependency=1s"
        " --feature-gates=CancelHealthCheckOnNewRevision=true --interval-jitter-percentage=0"
        " --min-retry-delay=750ms --log-level=info",
        "http://127.0.0.1:9440/readyz",
        {
            "KUBECONFIG": "{pki}/admin.kubeconfig",
            "RUNTIME_NAMESPACE": "flux-system",
            "TMPDIR": "{folder}/tmp",
        },
    ),
    Component(
        "source",
        "{python} -m infra.local.kubernetes source --folder {folder} --host {host} --port 9090",
        "http://{host}:9090/",
        is_inside=False,
    ),
)
STAGES = (STORES, API, NODE_AND_CONTROLLERS, FLUX)
"""Each is started together and answers before the next one starts."""


def identities(network: Network) -> tuple[Identity, ...]:
    """Return who gets a certificate of the cluster's authority."""
    names = (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{CLUSTER_DNS_DOMAIN}",
        "localhost",
    )
    return (
        Identity(
            "apiserver",
            "kube-apiserver",
            hosts=(*names, "127.0.0.1", network.node, network.api_service),
        ),
        Identity("component", "component", hosts=("localhost", "127.0.0.1")),
        Identity("admin", "admin", "system:masters"),
        Identity("kubelet", f"system:node:{NODE}", "system:nodes", hosts=(NODE, network.node)),
        Identity("controller-manager", "system:kube-controller-manager"),
        Identity("scheduler", "system:kube-scheduler"),
        Identity("proxy", "system:kube-proxy"),
    )
