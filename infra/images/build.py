"""Builds an image from its Dockerfile with buildah, measures and pushes the image.

buildah needs no daemon. The digest of a pushed image goes into a kustomization of gitops.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infra.images.debian import base_image
from infra.images.programs import ProgramFailed, run, said
from infra.images.revision import revision_of
from infra.images.wheels import LOCKS, ROOT, fetch

DOCKERFILES = Path(__file__).parent
NAMES = tuple(sorted(path.stem for path in DOCKERFILES.glob("*.Dockerfile")))
_RECIPE = "ratchet.recipe"
"""The label with the digest of an image's inputs."""
_LICENSE = "Apache-2.0"
LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost)(:\d+)?/")


_UNIT_BYTES = {"B": 1, "bytes": 1, "KB": 1e3, "kB": 1e3, "MB": 1e6, "GB": 1e9}


@dataclass(frozen=True)
class Built:
    """An image on this machine."""

    name: str
    local: str
    """The image's name in buildah's store."""
    size_bytes: int
    """Of all files, with the base."""
    own_bytes: int
    """Of the files above the base."""


def build(name: str, *, base: str | None = None) -> Built:
    """Build one image.

    Base, lock and code decide its bytes. `ARG REVISION` in the Dockerfile adds their commit.
    An image that this machine already built from the same inputs is reused.

    Args:
        name: Of the Dockerfile and the lock.
        base: An image by digest. None builds the base from Debian packages.

    Raises:
        ProgramFailed: A program is missing or failed, or the base has no digest.
    """
    if base is not None and not re.search(r"@sha256:[0-9a-f]{64}$", base):
        raise ProgramFailed(
            f"--base {base} has no digest. Write …@sha256:…: a tag may name another image tomorrow."
        )
    below = base or base_image()
    local = f"localhost/ratchet/{name}:latest"
    recipe = recipe_digest(name, below)
    if _recipe_of(local) != recipe:
        _bud(name, below, local, recipe)
    size = _size_bytes(local)
    return Built(name, local, size, size - _size_bytes(below))


def recipe_digest(name: str, below: str) -> str:
    """Return the digest of an image's inputs.

    Inputs are the base's name, the Dockerfile, the copied files, the annotations and the commit.
    The lock, a copied file, decides the wheels.
    """
    dockerfile = DOCKERFILES / f"{name}.Dockerfile"
    digest = hashlib.sha256(f"{below}\n".encode())
    for path in (dockerfile, LOCKS / "uv.txt", *_copied(dockerfile.read_text())):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(ROOT)} {content}\n".encode())
    digest.update("".join((*revision_argument(name), *annotation_arguments(name))).encode())
    return digest.hexdigest()


def revision_argument(name: str) -> tuple[str, ...]:
    """Return the argument with the commit of an image's content.

    Only a Dockerfile with `ARG REVISION` gets the argument. Other images would change for nothing.
    """
    dockerfile = DOCKERFILES / f"{name}.Dockerfile"
    text = dockerfile.read_text()
    if not re.search(r"^ARG REVISION\b", text, flags=re.MULTILINE):
        return ()
    revision = revision_of([dockerfile, LOCKS / "uv.txt", *_sources(text)], ROOT)
    return ("--build-arg", f"REVISION={revision}")


def annotation_arguments(name: str) -> tuple[str, ...]:
    """Return the arguments that annotate an image (image-spec 1.1, annotations.md).

    buildah itself adds the base's name and digest. The description is the Dockerfile's first line.
    """
    first = (DOCKERFILES / f"{name}.Dockerfile").read_text().partition("\n")[0]
    annotations = {
        "title": f"ratchet/{name}",
        "description": first.removeprefix("# "),
        "vendor": "Ratchet",
        "licenses": _LICENSE,
    }
    if revision := revision_argument(name):
        annotations["revision"] = revision[1].removeprefix("REVISION=")
    pairs = [f"org.opencontainers.image.{key}={value}" for key, value in annotations.items()]
    return tuple(word for pair in pairs for word in ("--annotation", pair))


def push(image: Built, registry: str, *, plain: bool = False) -> str:
    """Push an image and return its name by digest.

    When the registry already has the image, its digest there is returned.

    Args:
        image: The image.
        registry: With the prefix of its images: `127.0.0.1:5000/ratchet`.
        plain: Use HTTP. Loopback addresses always use HTTP.

    Raises:
        ProgramFailed: The registry refused the image, or its tag already names another image.
    """
    repository = f"{registry.rstrip('/')}/{image.name}"
    image_id = said("buildah", "images", "--quiet", "--no-trunc", image.local).removeprefix(
        "sha256:"
    )
    tagged = f"{repository}:{image_id[:12]}"
    tls = f"--tls-verify={'false' if plain or LOOPBACK.match(repository) else 'true'}"
    with tempfile.TemporaryDirectory() as folder:
        digest = Path(folder) / "digest"
        try:
            run(
                "buildah",
                "push",
                "--quiet",
                tls,
                "--format",
                "oci",
                "--digestfile",
                str(digest),
                image.local,
                f"docker://{tagged}",
            )
        except ProgramFailed as refusal:
            return f"{repository}@{_digest_there(tagged, image_id, tls, refusal)}"
        return f"{repository}@{digest.read_text().strip()}"


def names(kustomization: str, name: str) -> bool:
    """Return whether a kustomization names an image: under `images`, or as the models' base."""
    return any(line.search(kustomization) for line, _ in _places(name, "", ""))


def with_digest(kustomization: str, name: str, reference: str) -> str:
    """Return a kustomization with the digest of a pushed image. The rest does not change.

    >>> line = '  - {name: promote, newName: a.example/promote, digest: "sha256:' + "0" * 64 + '"}'
    >>> with_digest(line, "promote", "b.example/ratchet/promote@sha256:" + "1" * 64)[:58]
    '  - {name: promote, newName: b.example/ratchet/promote, di'

    Raises:
        ProgramFailed: The kustomization does not name the image, or in another form.
    """
    repository, _, digest = reference.partition("@")
    if not names(kustomization, name):
        raise ProgramFailed(
            f"the kustomization does not name {name} in the form of this repository "
            "(gitops/README.md)"
        )
    for line, instead in _places(name, repository, digest):
        kustomization = line.sub(instead, kustomization)
    return kustomization


def _places(name: str, repository: str, digest: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """Return patterns of the lines that name an image, and their replacements.

    PROMOTE_BASE_IMAGE has no host: promote knows its registry.
    """
    image = (
        rf'^(  - {{name: {re.escape(name)}, newName: )[^,]+(, digest: ")sha256:[0-9a-f]{{64}}("}})$'
    )
    below = rf"^( +- PROMOTE_BASE_IMAGE=)[\w./-]*\b{re.escape(name)}@sha256:[0-9a-f]{{64}}$"
    without_host = repository.partition("/")[2]
    return (
        (re.compile(image, flags=re.MULTILINE), rf"\g<1>{repository}\g<2>{digest}\g<3>"),
        (re.compile(below, flags=re.MULTILINE), rf"\g<1>{without_host}@{digest}"),
    )


def _digest_there(tagged: str, image_id: str, tls: str, refusal: ProgramFailed) -> str:
    """Return the digest of an image that the registry already has.

    ECR refuses an existing tag even for the same image (aws/containers-roadmap#2380). The pull
    fetches no layer and adds a name in buildah's store. The name is removed again.
    """
    try:
        found = said("buildah", "pull", "--quiet", "--policy", "always", tls, tagged)
    except ProgramFailed:
        raise refusal from None  # no such tag, or no answer: the push's message names the problem
    digest = said(
        "buildah", "inspect", "--type", "image", "--format", "{{.FromImageDigest}}", tagged
    )
    run("buildah", "rmi", tagged)  # removes this name only; the image has more names
    if found != image_id:
        raise ProgramFailed(
            f"{refusal}\n{tagged} is another image, {found}, not {image_id}. "
            f"If no release names {digest}, delete this tag and push again."
        )
    return digest


def _bud(name: str, below: str, local: str, recipe: str) -> None:
    for group in ("uv", name):
        fetch(group)
    what = (
        "--file",
        str(DOCKERFILES / f"{name}.Dockerfile"),
        "--build-arg",
        f"BASE={below}",
        *revision_argument(name),
        *annotation_arguments(name),
        "--label",
        f"{_RECIPE}={recipe}",
        "--tag",
        local,
    )
    run(
        "buildah",
        "bud",
        "--quiet",
        "--isolation",
        "chroot",
        "--layers=false",
        "--timestamp",
        "0",
        *what,
        str(ROOT),
    )


def _copied(dockerfile: str) -> Iterator[Path]:
    for source in _sources(dockerfile):
        found = [source, *sorted(source.rglob("*"))]
        yield from (path for path in found if path.is_file() and "__pycache__" not in path.parts)


def _sources(dockerfile: str) -> Iterator[Path]:
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, flags=re.MULTILINE):
        yield from (ROOT / source for source in sources.split())


def _recipe_of(local: str) -> str | None:
    """Return the digest of an image's inputs; None when this machine has no such image."""
    if not said("buildah", "images", "--quiet", "--filter", f"reference={local}"):
        return None
    image = json.loads(said("buildah", "inspect", "--type", "image", local))
    return str((image["OCIv1"]["config"].get("Labels") or {}).get(_RECIPE))


def _size_bytes(image: str) -> int:
    [described] = json.loads(said("buildah", "images", "--json", image))
    number, unit = str(described["size"]).split()  # buildah writes the size for people only
    return int(float(number) * _UNIT_BYTES[unit])
