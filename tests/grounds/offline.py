"""A machine without internet: a network namespace with loopback and a trap for the rest.

The trap is a route to nowhere. Packets to other hosts and questions for names go into it, and a
recorder writes each down. So a program that hides its failed attempts is caught too.

Run as a program, this file is the recorder. It uses the standard library only.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

_FURNISH = """
ip link set lo up
ip link add trap type veth peer name nowhere
ip link set trap up arp off
ip link set nowhere up
ip address add 192.0.2.2/32 dev trap
ip -6 address add 2001:db8::2/128 dev trap nodad
ip route add default dev trap
ip -6 route add default dev trap
echo "nameserver 192.0.2.53" > "$2.resolv"
mount --bind "$2.resolv" /etc/resolv.conf
setpriv --pdeathsig KILL "$0" -I "$1" "$2" &
while [ ! -e "$2" ]; do sleep 0.05; done
shift 2
exec "$@"
"""
_PROGRAMS = {"unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2"}
_OUTGOING, _EVERY_PROTOCOL = 4, 3
_IPV4, _IPV6 = 0x0800, 0x86DD
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp"}
_DNS = 53


@cache
def why_not_offline() -> str:
    """Why this machine cannot make such a namespace, and what to do; empty when it can."""
    for program, package in _PROGRAMS.items():
        if shutil.which(program) is None:
            return f"{program} is missing: apt-get install {package}"
    script = (
        "ip link add trap type veth peer name nowhere && mount --bind /dev/null /etc/resolv.conf"
    )
    tried = subprocess.run(
        [*_unshare(), "sh", "-ec", script], capture_output=True, text=True, check=False
    )
    if tried.returncode == 0:
        return ""
    problem = f"no network namespace with a veth link can be made: {tried.stderr.strip()}"
    return f"{problem}. Run as root, or allow user namespaces."


def offline(words: Sequence[str], attempts: Path) -> list[str]:
    """Return the command that runs `words` without internet; it keeps its process id.

    Args:
        words: The command.
        attempts: A new file; `read_attempts` reads it.
    """
    return [
        *_unshare(),
        "sh",
        "-euc",
        _FURNISH,
        sys.executable,
        str(Path(__file__).resolve()),
        str(attempts),
        *words,
    ]


def beside(pid: int, words: Sequence[str]) -> list[str]:
    """Return the command that runs `words` in the namespace of a running process of `offline`."""
    user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
    return ["nsenter", f"--target={pid}", *user, "--net", "--mount", *words]


def read_attempts(attempts: Path) -> list[str]:
    """Return what was sent to other hosts, each once: `tcp 192.0.2.7:443`, `name example.org`."""
    return sorted(set(attempts.read_text(encoding="utf-8").splitlines()))


def _unshare() -> list[str]:
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--net", "--mount", "--propagation", "private"]


def described(kind: int, packet: bytes) -> Iterator[str]:
    """Yield what a packet asks of another host; nothing for what the kernel itself sends.

    Args:
        kind: The ethertype.
        packet: From the IP header on.
    """
    if kind == _IPV4:
        protocol, start = packet[9], (packet[0] & 15) * 4
        host = socket.inet_ntop(socket.AF_INET, packet[16:20])
    elif kind == _IPV6 and packet[6] in (6, 17):  # others are the kernel's: neighbours, multicast
        protocol, start = packet[6], 40
        host = f"[{socket.inet_ntop(socket.AF_INET6, packet[24:40])}]"
    else:
        return
    port = struct.unpack_from("!H", packet, start + 2)[0] if protocol in (6, 17) else 0
    if port == _DNS and protocol == 17:
        yield f"name {_question(packet[start + 8 :])}"
    else:
        yield f"{_PROTOCOLS.get(protocol, f'protocol {protocol}')} {host}:{port}"


def _question(message: bytes) -> str:
    labels, at = [], 12
    while at < len(message) and message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]].decode("ascii", "replace"))
        at += 1 + message[at]
    return ".".join(labels)


def _record(attempts: Path) -> None:
    trap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_EVERY_PROTOCOL))
    trap.bind(("trap", _EVERY_PROTOCOL))
    with attempts.open("w", encoding="utf-8", buffering=1) as lines:
        while True:
            packet, (_, kind, direction, *_) = trap.recvfrom(65_535)
            if direction == _OUTGOING:
                lines.writelines(f"{line}\n" for line in described(kind, packet))


if __name__ == "__main__":
    _record(Path(sys.argv[1]))
