"""Names of an image: repository, tag, digest, and the files of its model folder.

Each check keeps a name from being a path, a URL or an option. Pure, standard library only.
"""

from __future__ import annotations

import hashlib
import re

from promote.errors import InvalidName

# distribution-spec 1.1, "Pulling manifests"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


def image_tag(version: int, model_digest: str) -> str:
    """Return the tag of a registered version's image. A tag is written once.

    >>> image_tag(8, "sha256:0123456789ab" + "0" * 52)
    'v8-0123456789ab'
    """
    return f"v{version}-{check_digest(model_digest).removeprefix('sha256:')[:12]}"


def image_reference(repository: str, digest: str) -> str:
    """Return the name of an image in a release.

    >>> image_reference("ratchet/flight-delay", "sha256:" + "0" * 64)[:32]
    'ratchet/flight-delay@sha256:0000'
    """
    return f"{check_repository(repository)}@{check_digest(digest)}"


def split_reference(reference: str) -> tuple[str, str]:
    """Return the repository and the digest of an `image_reference`.

    >>> split_reference("ratchet/flight-delay@sha256:" + "0" * 64)[0]
    'ratchet/flight-delay'
    """
    repository, _, digest = reference.rpartition("@")
    return check_repository(repository), check_digest(digest)


def check_repository(repository: str) -> str:
    """Return the name of an image repository.

    Raises:
        InvalidName: Registries do not accept the name; or a part is `blobs`, the name of a folder
            inside every OCI layout.
    """
    is_accepted = _REPOSITORY.fullmatch(repository) and len(repository) <= 255
    if not is_accepted or "blobs" in repository.split("/"):
        raise InvalidName(
            f"{repository!r} is not an image repository. Use lower-case letters and digits, "
            "with single . _ - between them, and / between the parts."
        )
    return repository


def check_tag(tag: str) -> str:
    """Return the name of a tag.

    Raises:
        InvalidName: Registries do not accept the name.
    """
    if not _TAG.fullmatch(tag):
        raise InvalidName(
            f"{tag!r} is not an image tag. Use 1 to 128 letters, digits, dots, dashes and "
            "underscores. The first is no dot and no dash."
        )
    return tag


def digest_of(content: bytes) -> str:
    """Return the digest of some bytes.

    >>> digest_of(b"")[:19]
    'sha256:e3b0c44298fc'
    """
    return "sha256:" + hashlib.sha256(content).hexdigest()


def is_digest(text: str) -> bool:
    """Return True for `sha256:` and 64 lower-case hexadecimal digits."""
    return _DIGEST.fullmatch(text) is not None


def check_digest(digest: str) -> str:
    """Return a digest.

    Raises:
        InvalidName: The text is no digest.
    """
    if not is_digest(digest):
        raise InvalidName(
            f"{digest!r} is not a digest: sha256: and 64 lower-case hexadecimal digits."
        )
    return digest


def check_file_name(name: str) -> str:
    """Return the name of a file of a model folder.

    Raises:
        InvalidName: The name could lead out of the folder, or be an option of a command.
    """
    if not _FILE.fullmatch(name):
        raise InvalidName(
            f"{name!r} is no file name of a model folder. Use 1 to 80 of A-Z a-z 0-9 . _ -, "
            "with a letter or digit first, and no folders."
        )
    return name
