"""Builds an image from its Dockerfile with buildah (no daemon), says its size, pushes it, and writes its digest where gitops names it."""

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
"""The label that says what an image was made of."""
LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost)(:\d+)?/")


@dataclass(frozen=True)
class Built:
    """An image on this machine."""

    name: str
    local: str
    """What buildah calls it."""
    size_bytes: int
    """Of its files, base included."""
    own_bytes: int
    """Of its files above the base."""


def build(name: str, *, base: str | None = None) -> Built:
    """Build one image, a function of base, lock and code; where the Dockerfile asks for REVISION, of their commit too.

    One that this machine made of the same is taken as it is.

    Args:
        name: Of the Dockerfile and the lock.
        base: An image by digest; without one, Debian's packages make it.

    Raises:
        ProgramFailed: A program is missing or failed.
    """
    if base is not None and not re.search(r"@sha256:[0-9a-f]{64}$", base):
        raise ProgramFailed(
            f"--base {base}: name it by digest, …@sha256:…; a tag may be another image tomorrow"
        )
    below = base or base_image()
    local = f"localhost/ratchet/{name}:latest"
    recipe = recipe_digest(name, below)
    if _recipe_of(local) != recipe:
        _bud(name, below, local, recipe)
    size = _size_bytes(local)
    return Built(name, local, size, size - _size_bytes(below))


def recipe_digest(name: str, below: str) -> str:
    """Return the digest of all that decides an image: the base's name, the Dockerfile, what it copies and its commit; the lock fixes the wheels."""
    dockerfile = DOCKERFILES / f"{name}.Dockerfile"
    digest = hashlib.sha256(f"{below}\n".encode())
    for path in (dockerfile, LOCKS / "uv.txt", *_copied(dockerfile.read_text())):
        digest.update(
            f"{path.relative_to(ROOT)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
        )
    digest.update("".join(revision_argument(name)).encode())
    return digest.hexdigest()


def revision_argument(name: str) -> tuple[str, ...]:
    """Return what tells a Dockerfile with `ARG REVISION` the commit of what it copies; nothing for the others."""
    dockerfile = DOCKERFILES / f"{name}.Dockerfile"
    text = dockerfile.read_text()
    if not re.search(r"^ARG REVISION\b", text, flags=re.MULTILINE):
        return ()
    return (
        "--build-arg",
        f"REVISION={revision_of([dockerfile, LOCKS / 'uv.txt', *_sources(text)], ROOT)}",
    )


def push(image: Built, registry: str, *, plain: bool = False) -> str:
    """Push an image and return its name by digest; one that is there already is named as the registry has it.

    Args:
        image: What was built.
        registry: With the prefix that images have there: `127.0.0.1:5000/ratchet`.
        plain: Speak HTTP, with a registry on this machine; loopback is spoken to so anyway.

    Raises:
        ProgramFailed: The registry did not take it, or has another image under its tag and keeps that.
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
    """True when a kustomization names an image: under `images`, or as the base of model images."""
    return any(line.search(kustomization) for line, _ in _places(name, "", ""))


def with_digest(kustomization: str, name: str, reference: str) -> str:
    """Return a kustomization that names an image by a pushed reference; the rest is as it was.

    >>> line = '  - {name: promote, newName: a.example/promote, digest: "sha256:' + "0" * 64 + '"}'
    >>> with_digest(line, "promote", "b.example/ratchet/promote@sha256:" + "1" * 64)[:58]
    '  - {name: promote, newName: b.example/ratchet/promote, di'

    Raises:
        ProgramFailed: It does not name the image, or in another form.
    """
    repository, _, digest = reference.partition("@")
    if not names(kustomization, name):
        raise ProgramFailed(
            f"the kustomization does not name {name} in the form that this repository uses (gitops/README.md)"
        )
    for line, instead in _places(name, repository, digest):
        kustomization = line.sub(instead, kustomization)
    return kustomization


def _places(name: str, repository: str, digest: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """Return the lines that may name an image, and what they then say. PROMOTE_BASE_IMAGE is without a host: promote knows its registry."""
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
    """Return the digest of an image that the registry has; ECR refuses a tag that is there, with the same image too (aws/containers-roadmap#2380).

    The pull adds a name to our image and fetches no layer of it, for the push has just compared them; another image comes whole, and goes.
    """
    try:
        found = said("buildah", "pull", "--quiet", "--policy", "always", tls, tagged)
    except ProgramFailed:
        raise refusal from None  # no such tag, or nobody answers: the push has said what is wrong
    digest = said(
        "buildah", "inspect", "--type", "image", "--format", "{{.FromImageDigest}}", tagged
    )
    run("buildah", "rmi", tagged)  # that name only, of an image that has more
    if found != image_id:
        raise ProgramFailed(
            f"{refusal}\n{tagged} is another image, {found}, not {image_id}: if no release names {digest}, delete that tag and push again"
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
    """Return what an image on this machine was made of; None when it is not here or does not say."""
    if not said("buildah", "images", "--quiet", "--filter", f"reference={local}"):
        return None
    labels = (
        json.loads(said("buildah", "inspect", "--type", "image", local))["OCIv1"]["config"].get(
            "Labels"
        )
        or {}
    )
    return str(labels.get(_RECIPE))


def _size_bytes(image: str) -> int:
    [described] = json.loads(said("buildah", "images", "--json", image))
    number, unit = str(described["size"]).split()  # buildah says it for people only
    return int(
        float(number) * {"B": 1, "bytes": 1, "KB": 1e3, "kB": 1e3, "MB": 1e6, "GB": 1e9}[unit]
    )
