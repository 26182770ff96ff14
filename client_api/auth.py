"""API keys. The gateway keeps only digests of keys and compares them in constant time. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from client_api.errors import KeyRefused


class Keyring:
    """The keys of callers."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(hashlib.sha256(key.encode()).digest() for key in keys)

    def check(self, authorization: bytes | None) -> None:
        """Accept `Bearer <key>` when the key is one of ours.

        Raises:
            KeyRefused: Anything else. The message never repeats the header.
        """
        scheme, _, key = (authorization or b"").partition(b" ")
        if scheme.lower() != b"bearer" or not key:
            raise KeyRefused("send your key as `Authorization: Bearer <key>`")
        presented = hashlib.sha256(key.strip()).digest()
        is_ours = False
        for digest in self._digests:  # all of them: an early end would show which key is near
            is_ours |= hmac.compare_digest(digest, presented)
        if not is_ours:
            raise KeyRefused("this key is not known")
