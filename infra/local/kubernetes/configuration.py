"""The components' configuration files, written before they start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from infra.local.kubernetes.components import CLUSTER_DNS_DOMAIN, NODE, Places

PAUSE_IMAGE = "ratchet/pause"


def write_all(places: Places) -> None:
    """Write every file below `places.config`."""
    folder = Path(places.config)
    for name, content in {
        "kubelet.yaml": _yaml(_kubelet(places)),
        "proxy.yaml": _yaml(_proxy(places)),
        "registry.yaml": _yaml(_registry(places)),
        "containerd.toml": _containerd(places),
        "Corefile": _corefile(places),
        "resolv.conf": "",
        "net.d/10-ratchet.conflist": json.dumps(_pod_network(places)),
        f"registries/{places.node}:5000/hosts.toml": _plain_registry(places),
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")


def _yaml(content: dict[str, Any]) -> str:
    return yaml.safe_dump(content, sort_keys=False)


def _kubelet(places: Places) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": places.node,
        "healthzBindAddress": "127.0.0.1",
        "authentication": {
            "anonymous": {"enabled": False},
            "x509": {"clientCAFile": f"{places.pki}/ca.crt"},
        },
        "tlsCertFile": f"{places.pki}/kubelet.crt",
        "tlsPrivateKeyFile": f"{places.pki}/kubelet.key",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "clusterDNS": [places.node],
        "clusterDomain": CLUSTER_DNS_DOMAIN,
        "resolvConf": f"{places.config}/resolv.conf",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{places.control_group}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": False,
        "oomScoreAdj": 0,
        "serializeImagePulls": False,
        "evictionHard": {
            "memory.available": "100Mi"
        },  # a full disk is the host's matter, and pulls nothing from under the demo
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    }


def _proxy(places: Places) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": f"{places.pki}/proxy.kubeconfig"},
        "hostnameOverride": NODE,
        "mode": "iptables",
        "clusterCIDR": places.pods,
        "iptables": {"minSyncPeriod": "100ms"},
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpCloseWaitTimeout": "0s",
            "tcpEstablishedTimeout": "0s",
        },  # these are the host's
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
    }


def _registry(places: Places) -> dict[str, Any]:
    return {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": f"{places.folder}/registry"},
            "delete": {"enabled": True},
        },
        "http": {"addr": f"{places.node}:5000", "relativeurls": True},
    }


def _containerd(places: Places) -> str:
    """Return version 2 of the format, which Debian 12 (1.6) and 13 (1.7) read."""
    return f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs"]
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{places.node}:5000/{PAUSE_IMAGE}:1"
restrict_oom_score_adj = true
disable_apparmor = true
tolerate_missing_hugetlb_controller = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{places.plugins}"
conf_dir = "{places.config}/net.d"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{places.config}/registries"
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"""


def _plain_registry(places: Places) -> str:
    url = f"http://{places.node}:5000"
    return f'server = "{url}"\n[host."{url}"]\ncapabilities = ["pull", "resolve"]\n'


def _pod_network(places: Places) -> dict[str, Any]:
    """Return the network configuration: a pair of links for each pod, and routes.

    Services need no bridge module. NetworkPolicies are not enforced.
    """
    addresses = {
        "type": "host-local",
        "dataDir": "/var/lib/cni",
        "ranges": [[{"subnet": places.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {
        "cniVersion": "0.4.0",
        "name": "ratchet",
        "plugins": [{"type": "ptp", "ipMasq": False, "ipam": addresses}],
    }


def _corefile(places: Places) -> str:
    """Return names of this cluster only: no other server is asked."""
    return f""".:53 {{
    bind {places.node}
    errors
    health 127.0.0.1:8080
    kubernetes {CLUSTER_DNS_DOMAIN} in-addr.arpa {{
        kubeconfig {places.pki}/admin.kubeconfig
        ttl 5
    }}
}}
"""
