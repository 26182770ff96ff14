"""The cluster's own authority: certificates and kubeconfigs that live as long as its folder."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = timedelta(days=30)
_CLOCKS_DIFFER = timedelta(minutes=5)


@dataclass(frozen=True)
class Identity:
    """The owner of a certificate. Kubernetes reads the name as user, the organization as group."""

    file: str
    name: str
    organization: str = "ratchet"
    hosts: tuple[str, ...] = ()
    """Addresses and names it serves; empty for a client."""


class Authority:
    """Signs what the cluster needs; everything it writes lies in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("ratchet-cluster", "ratchet")
        builder = self._builder(self._name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = builder.add_extension(usage, critical=True).sign(self._key, hashes.SHA256())
        self.certificate = _write(
            folder / "ca.crt", certificate.public_bytes(serialization.Encoding.PEM)
        )

    def issue(self, identity: Identity) -> None:
        """Write `<file>.crt` and `<file>.key`, for clients and, where there are hosts, servers."""
        key = ec.generate_private_key(ec.SECP256R1())
        uses = [
            ExtendedKeyUsageOID.CLIENT_AUTH,
            *([ExtendedKeyUsageOID.SERVER_AUTH] if identity.hosts else []),
        ]
        builder = self._builder(_name(identity.name, identity.organization), key).add_extension(
            x509.ExtendedKeyUsage(uses), critical=False
        )
        if identity.hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in identity.hosts]),
                critical=False,
            )
        certificate = builder.sign(self._key, hashes.SHA256())
        _write(
            self.folder / f"{identity.file}.crt",
            certificate.public_bytes(serialization.Encoding.PEM),
        )
        _write(self.folder / f"{identity.file}.key", _pem(key))

    def write_signing_key(self, file: str) -> None:
        """Write a key pair for ServiceAccount tokens: `<file>.key` and `<file>.pub`."""
        key = ec.generate_private_key(ec.SECP256R1())
        _write(self.folder / f"{file}.key", _pem(key))
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        _write(self.folder / f"{file}.pub", public)

    def write_kubeconfig(self, path: Path, identity: str, server: str) -> None:
        """Write a kubeconfig for `identity` and `server`. It refers to files of the same folder."""
        user = {
            "client-certificate": str(self.folder / f"{identity}.crt"),
            "client-key": str(self.folder / f"{identity}.key"),
        }
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "ratchet",
            "clusters": [
                {
                    "name": "ratchet",
                    "cluster": {"server": server, "certificate-authority": str(self.certificate)},
                }
            ],
            "users": [{"name": identity, "user": user}],
            "contexts": [{"name": "ratchet", "context": {"cluster": "ratchet", "user": identity}}],
        }
        _write(path, yaml.safe_dump(content, sort_keys=False).encode())

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCKS_DIFFER)
            .not_valid_after(now + _LIFE)
        )


def issue_all(authority: Authority, identities: Sequence[Identity]) -> None:
    """Issue one after the other."""
    for identity in identities:
        authority.issue(identity)


def _name(common: str, organization: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _write(path: Path, content: bytes) -> Path:
    """Write for the owner's eyes only, from the first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    return path
