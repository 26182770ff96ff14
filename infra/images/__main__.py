"""The command that builds images and names them in gitops/; `--help` has its options.

python -m infra.images build serving client_api --push 127.0.0.1:5000/ratchet
python -m infra.images release retrain REGISTRY/ratchet/retrain@sha256:… gitops/platform/training
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from infra.images.build import NAMES, build, names, push, with_digest
from infra.images.programs import ProgramFailed


def main(arguments: list[str] | None = None) -> int:
    """Build the wanted images, or name one; return 1 with the reason after a failure."""
    asked = _parser().parse_args(arguments)
    try:
        if asked.command == "release":
            _release(asked.image, asked.reference, asked.folder)
            return 0
        for name in asked.images or NAMES:
            _build(
                name,
                base=asked.base,
                registry=asked.push,
                plain=asked.plain_http,
                folders=asked.release,
            )
    except ProgramFailed as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    return 0


def _build(
    name: str, *, base: str | None, registry: str | None, plain: bool, folders: list[Path]
) -> None:
    began = time.monotonic()
    image = build(name, base=base)
    sys.stdout.write(
        f"{name:12} {image.size_bytes / 1e6:6.0f} MB, {image.own_bytes / 1e6:6.0f} MB above the "
        f"base, {time.monotonic() - began:4.0f} s"
    )
    sys.stdout.flush()
    if registry is None:
        sys.stdout.write(f"  {image.local}\n")
        return
    reference = push(image, registry, plain=plain)
    sys.stdout.write(f"  {reference}\n")
    for folder in folders:
        if names((folder / "kustomization.yaml").read_text(), name):
            _release(name, reference, folder)


def _release(name: str, reference: str, folder: Path) -> None:
    path = folder / "kustomization.yaml"
    path.write_text(with_digest(path.read_text(), name, reference))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.images",
        description="Build the services' images with buildah. No daemon is needed.",
    )
    commands = parser.add_subparsers(required=True, dest="command")
    command = commands.add_parser("build", help="build images and print their sizes")
    command.add_argument(
        "images",
        nargs="*",
        metavar="NAME",
        help=f"any of: {', '.join(NAMES)}; none means all",
        type=_known,
    )
    command.add_argument(
        "--base", help="the base image by digest; by default built from Debian packages"
    )
    command.add_argument(
        "--push",
        metavar="REGISTRY",
        help="push to this registry and prefix, such as 127.0.0.1:5000/ratchet",
    )
    command.add_argument(
        "--plain-http", action="store_true", help="use HTTP, for a registry on this machine"
    )
    command.add_argument(
        "--release",
        metavar="FOLDER",
        type=Path,
        action="append",
        default=[],
        help="write the pushed digests into this folder's kustomization; may be given twice",
    )
    release = commands.add_parser("release", help="write a pushed image into a kustomization")
    release.add_argument("image", metavar="NAME", type=_known, help="which image of ours it is")
    release.add_argument("reference", metavar="REFERENCE", help="REGISTRY/NAME@sha256:…")
    release.add_argument("folder", metavar="FOLDER", type=Path, help="the kustomization's")
    return parser


def _known(name: str) -> str:
    if name not in NAMES:
        raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(NAMES)}")
    return name


if __name__ == "__main__":
    sys.exit(main())
