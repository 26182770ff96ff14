"""The names an image goes by: repository, tag, digest, and the files of its model folder. Pure, standard library only.

Each check is the one place that keeps a name from being a path, a URL or an option.
"""

from __future__ import annotations

import re

from promote.errors import InvalidName

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"  # distribution-spec 1.1, "Pulling manifests"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


def image_tag(version: int, model_digest: str) -> str:
    """Return the tag that the image of a registered version gets; it is written once.

    >>> image_tag(8, "sha256:0123456789ab" + "0" * 52)
    'v8-0123456789ab'
    """
    return f"v{version}-{check_digest(model_digest).removeprefix('sha256:')[:12]}"


def image_reference(repository: str, digest: str) -> str:
    """Return how a release names an image.

    >>> image_reference("ratchet/flight-delay", "sha256:" + "0" * 64)[:32]
    'ratchet/flight-delay@sha256:0000'
    """
    return f"{check_repository(repository)}@{check_digest(digest)}"


def split_reference(reference: str) -> tuple[str, str]:
    """Return repository and digest of what `image_reference` wrote.

    >>> split_reference("ratchet/flight-delay@sha256:" + "0" * 64)[0]
    'ratchet/flight-delay'
    """
    repository, _, digest = reference.rpartition("@")
    return check_repository(repository), check_digest(digest)


def check_repository(repository: str) -> str:
    """Return the name of an image repository.

    Raises:
        InvalidName: Not what registries accept; or a part is `blobs`, which an OCI layout folder has for itself.
    """
    if (
        not _REPOSITORY.fullmatch(repository)
        or len(repository) > 255
        or "blobs" in repository.split("/")
    ):
        raise InvalidName(
            f"{repository!r} is no image repository: lower-case letters and digits, single . _ - between them, parts divided by /."
        )
    return repository


def check_tag(tag: str) -> str:
    """Return the name of a tag.

    Raises:
        InvalidName: Not what registries accept.
    """
    if not _TAG.fullmatch(tag):
        raise InvalidName(
            f"{tag!r} is no image tag: 1 to 128 letters, digits, dots, dashes and underscores, no dot or dash first."
        )
    return tag


def is_digest(text: str) -> bool:
    """True for `sha256:` and 64 lower-case hexadecimal digits."""
    return _DIGEST.fullmatch(text) is not None


def check_digest(digest: str) -> str:
    """Return a digest.

    Raises:
        InvalidName: It is none.
    """
    if not is_digest(digest):
        raise InvalidName(f"{digest!r} is no digest: sha256: and 64 lower-case hexadecimal digits.")
    return digest


def check_file_name(name: str) -> str:
    """Return the name of a file of a model folder.

    Raises:
        InvalidName: It could leave the folder, or be taken for something else.
    """
    if not _FILE.fullmatch(name):
        raise InvalidName(
            f"{name!r} is no name for a file of a model folder: use 1 to 80 of A-Z a-z 0-9 . _ -, a letter or digit first, and no folders."
        )
    return name
