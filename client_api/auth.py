"""API keys. Only their digests are kept, and every one is compared, in constant time: time tells a guesser nothing. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from client_api.errors import KeyRefused


class Keyring:
    """The keys that may ask."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(hashlib.sha256(key.encode()).digest() for key in keys)

    def check(self, authorization: bytes | None) -> None:
        """Accept `Bearer <key>` with a known key.

        Raises:
            KeyRefused: Anything else; the message never repeats what was sent.
        """
        scheme, _, key = (authorization or b"").partition(b" ")
        if scheme.lower() != b"bearer" or not key:
            raise KeyRefused("send your key as `Authorization: Bearer <key>`")
        presented = hashlib.sha256(key.strip()).digest()
        known = False
        for digest in self._digests:
            known |= hmac.compare_digest(digest, presented)
        if not known:
            raise KeyRefused("this key is not known")
