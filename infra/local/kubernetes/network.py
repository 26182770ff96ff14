"""The cluster's addresses, and the one pair of links between the cluster and the host.

The kernel removes the pair with the cluster's network namespace.
"""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
from dataclasses import dataclass

from infra.local.kubernetes.errors import CouldNotStart

_PREFIX = "ratchet"
_BLOCK = ipaddress.IPv4Network("10.87.0.0/16")


@dataclass(frozen=True)
class Network:
    """One /22 for one cluster: link, pods and services, all reachable from the host.

    >>> network = Network(1)
    >>> network.host, network.node, network.pods, network.services, network.link
    ('10.87.4.1', '10.87.4.2', '10.87.5.0/24', '10.87.6.0/24', 'ratchet1')
    """

    number: int
    """0 to 63."""

    @property
    def block(self) -> ipaddress.IPv4Network:
        """All of it, as the host routes it."""
        return ipaddress.IPv4Network((int(_BLOCK.network_address) + self.number * 1024, 22))

    @property
    def link(self) -> str:
        """The host's end of the pair."""
        return f"{_PREFIX}{self.number}"

    @property
    def host(self) -> str:
        """The host's address on the link. Pods reach the host's programs there."""
        return str(self.block[1])

    @property
    def node(self) -> str:
        """The cluster's one node: API server, registry, DNS and NodePorts."""
        return str(self.block[2])

    @property
    def pods(self) -> str:
        """The pods' network."""
        return str(list(self.block.subnets(new_prefix=24))[1])

    @property
    def services(self) -> str:
        """The Services' network."""
        return str(list(self.block.subnets(new_prefix=24))[2])

    @property
    def api_service(self) -> str:
        """Where pods find the API server."""
        return str(ipaddress.ip_network(self.services)[1])


def connect(namespace_pid: int) -> Network:
    """Claim a free block and link the host with the network namespace of `namespace_pid`.

    The link's name is the claim: the kernel gives it to one caller only.

    Raises:
        CouldNotStart: All are taken.
    """
    taken = _routes()
    for network in map(Network, range(64)):
        if any(network.block.overlaps(route) for route in taken):
            continue
        pair = [
            "ip",
            "link",
            "add",
            network.link,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            str(namespace_pid),
        ]
        if _try(pair):
            _configure(network, namespace_pid)
            return network
    raise CouldNotStart(
        f"no free block of addresses in {_BLOCK}: `ip route` and `ip link` show what is taken"
    )


def is_linked(network: Network) -> bool:
    """True while the host's end exists."""
    return _try(["ip", "link", "show", network.link])


def _configure(network: Network, pid: int) -> None:
    inside = ["nsenter", "--target", str(pid), "--net", "--"]
    host_end, node_end = f"{network.host}/30", f"{network.node}/30"
    for command in (
        ["ip", "address", "add", host_end, "dev", network.link],
        ["ip", "link", "set", network.link, "up"],
        [*inside, "ip", "link", "set", "lo", "up"],
        [*inside, "ip", "address", "add", node_end, "dev", "eth0"],
        [*inside, "ip", "link", "set", "eth0", "up"],
        [*inside, "ip", "route", "add", "default", "via", network.host],
        ["ip", "route", "add", str(network.block), "via", network.node],
    ):
        subprocess.run(command, check=True, capture_output=True, env=_environment())


def _routes() -> list[ipaddress.IPv4Network]:
    """Return what the host routes already, but for its default."""
    said = subprocess.run(
        ["ip", "-json", "-4", "route", "show", "table", "all"],
        check=True,
        capture_output=True,
        env=_environment(),
    ).stdout
    destinations = [str(route["dst"]) for route in json.loads(said or "[]")]
    return [
        ipaddress.IPv4Network(destination, strict=False)
        for destination in destinations
        if destination != "default"
    ]


def _try(command: list[str]) -> bool:
    return (
        subprocess.run(command, capture_output=True, check=False, env=_environment()).returncode
        == 0
    )


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
