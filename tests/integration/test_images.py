"""Built images as a pod runs them: user 65532, only /tmp writable, no capability.

`make images` builds them. Without them the tests are skipped with this reason.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.images.build import build, recipe_digest, revision_argument
from infra.images.debian import base_image
from infra.images.wheels import LOCKS, fetch
from infra.local.processes import Program, free_port, start, wait_until_answers
from retrain.contract import ModelCard, digest_of_bytes
from tests.grounds.model_folders import make_model_folder

TOKEN = "correct-horse-battery-staple"
AS_A_POD = """
set -eu
root=$1; shift
mount --bind "$root" "$root"
if [ -d "${MODEL:-}" ]; then mkdir -p "$root/model"; mount --bind "$MODEL" "$root/model"; fi
mount -t tmpfs tmpfs "$root/tmp"; chmod 1777 "$root/tmp"
mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"
mount -o remount,ro,bind "$root"
exec setpriv --no-new-privs --inh-caps=-all env -i $GIVEN \\
    /usr/sbin/chroot --userspec=65532:65532 --groups= "$root" "$@"
"""


def image(name: str) -> str:
    if os.geteuid() != 0 or not shutil.which("buildah"):
        pytest.skip("images are looked into as root, with buildah: apt-get install buildah")
    found = f"localhost/ratchet/{name}:latest"
    if not subprocess.run(
        ["buildah", "images", "--quiet", found], capture_output=True, check=False
    ).stdout.strip():
        pytest.skip(f"{found} is not on this machine: make images")
    return found


@contextlib.contextmanager
def root_of(name: str) -> Iterator[Path]:
    """The image's files in a folder, as long as the test runs."""
    container = subprocess.run(
        ["buildah", "from", "--pull-never", image(name)], capture_output=True, text=True, check=True
    ).stdout.strip()
    try:
        yield Path(
            subprocess.run(
                ["buildah", "mount", container], capture_output=True, text=True, check=True
            ).stdout.strip()
        )
    finally:
        subprocess.run(["buildah", "rm", container], capture_output=True, check=True)


def inspected(name: str) -> dict[str, Any]:
    command = ["buildah", "inspect", "--type", "image", image(name)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(json.loads(output))


def described(name: str) -> dict[str, object]:
    return dict(inspected(name)["OCIv1"]["config"])


def as_a_pod(
    root: Path, *command: str, log: Path, given: dict[str, str], model: Path | None = None
) -> Program:
    """Start a command like the kubelet, with its own mounts and the pod's environment."""
    words = " ".join(f"{name}={value}" for name, value in given.items())
    unshared = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        AS_A_POD,
        "pod",
        str(root),
        *command,
    ]
    return start("pod", unshared, log=log, env={"GIVEN": words, "MODEL": str(model or "")})


def environment(name: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in described(name)["Env"])  # type: ignore[attr-defined]  # a list in the format


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ModelCard]:
    folder = tmp_path_factory.mktemp("model")
    card = make_model_folder(folder)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)
    return folder, card


@pytest.mark.parametrize("name", ["serving", "client_api", "promote", "retrain", "dags", "mlflow"])
def test_an_image_has_nothing_to_install_or_compile_with(name: str) -> None:
    with root_of(name) as root:
        programs = {
            path.name
            for folder in ("app/bin", "usr/bin", "usr/sbin", "usr/local/bin")
            for path in (root / folder).glob("*")
        }
        assert {"python", "python3"} <= programs
        assert not {
            found
            for found in programs
            if re.fullmatch(
                r"(pip|uv|gcc|cc|g\+\+|c\+\+|ld|make|apt|apt-get|curl|wget|easy_install)[\d.-]*",
                found,
            )
        }
        packages = [
            path.name.lower() for path in (root / "app/lib").glob("python3*/site-packages/*")
        ]
        assert not [
            found
            for found in packages
            if found.startswith(("pip-", "setuptools-")) and name != "mlflow"
        ]
        assert not list((root / "usr/lib").glob("python3*/ensurepip"))
        assert not [
            path
            for path in (root / "app").rglob("*")
            if not path.is_symlink() and path.stat().st_mode & 0o022
        ]


@pytest.mark.parametrize("name", ["serving", "client_api", "promote", "retrain", "dags", "mlflow"])
def test_an_image_runs_as_a_number(name: str) -> None:
    assert described(name)["User"] == "65532:65532"


@pytest.mark.parametrize("name", ["serving", "client_api", "promote", "retrain", "dags", "mlflow"])
def test_an_image_has_the_annotations_of_the_specification(name: str) -> None:
    annotations = inspected(name)["ImageAnnotations"]
    assert annotations["org.opencontainers.image.title"] == f"ratchet/{name}"
    assert "org.opencontainers.image.base.name" in annotations  # buildah's own


def test_the_server_answers_its_gateway_alone_with_a_read_only_root(
    model: tuple[Path, ModelCard], tmp_path: Path
) -> None:
    port = free_port()
    settings = {
        "MODEL_DIGEST": model[1].model_digest,
        "VERSION": "8",
        "IMAGE_DIGEST": digest_of_bytes(b""),
        "PORT": str(port),
        "TOKEN": TOKEN,
    }
    given = environment("serving") | {f"SERVING_{name}": value for name, value in settings.items()}
    with root_of("serving") as root:
        server = as_a_pod(
            root,
            "/app/bin/python",
            "-m",
            "serving",
            log=tmp_path / "log",
            given=given,
            model=model[0],
        )
        try:
            wait_until_answers(server, f"http://127.0.0.1:{port}/readyz", timeout_seconds=60)
            assert _status(server) == {
                "Uid": "65532",
                "Gid": "65532",
                "CapEff": "0" * 16,
                "NoNewPrivs": "1",
            }
            with pytest.raises(urllib.error.HTTPError, match="401") as refusal:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/metadata", timeout=10)
            refusal.value.close()
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/metadata", headers={"authorization": f"Bearer {TOKEN}"}
            )
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert json.load(answer)["model_digest"] == model[1].model_digest
        finally:
            server.stop()
        assert "Read-only" not in (tmp_path / "log").read_text()


def test_a_server_of_an_altered_model_ends_with_the_reason_on_its_last_line(
    model: tuple[Path, ModelCard], tmp_path: Path
) -> None:
    given = environment("serving") | {
        "SERVING_MODEL_DIGEST": digest_of_bytes(b"another"),
        "SERVING_VERSION": "8",
        "SERVING_IMAGE_DIGEST": digest_of_bytes(b""),
    }
    with root_of("serving") as root:
        server = as_a_pod(
            root,
            "/app/bin/python",
            "-m",
            "serving",
            log=tmp_path / "log",
            given=given,
            model=model[0],
        )
        assert server.process.wait(60) == 1
    assert (
        (tmp_path / "log")
        .read_text()
        .splitlines()[-1]
        .startswith("ModelAltered: /model/model.json is ")
    )


def test_the_gateway_is_alive_with_a_read_only_root(tmp_path: Path) -> None:
    port = free_port()
    settings = {
        "ENDPOINTS": "dns:nobody.invalid:3000",
        "KEYS": "k",
        "PORT": str(port),
        "SERVING_TOKEN": TOKEN,
    }
    given = environment("client_api") | {
        f"CLIENT_API_{name}": value for name, value in settings.items()
    }
    with root_of("client_api") as root:
        gateway = as_a_pod(
            root, "/app/bin/python", "-m", "client_api", log=tmp_path / "log", given=given
        )
        try:
            wait_until_answers(gateway, f"http://127.0.0.1:{port}/healthz", timeout_seconds=60)
            assert _status(gateway)["Uid"] == "65532"
        finally:
            gateway.stop()
        assert "nobody.invalid has no address now" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("promote", ["promote", "--help"]),
        ("retrain", ["retrain", "schema"]),
        ("dags", ["airflow", "version"]),
        ("mlflow", ["mlflow", "--version"]),
    ],
)
def test_a_command_runs_with_a_read_only_root(
    name: str, command: list[str], tmp_path: Path
) -> None:
    with root_of(name) as root:
        ran = as_a_pod(
            root,
            f"/app/bin/{command[0]}",
            *command[1:],
            log=tmp_path / "log",
            given=environment(name),
        )
        assert ran.process.wait(120) == 0, ran.log_tail()


@pytest.mark.e2e
def test_retrains_image_names_the_commit_that_it_is_made_of(tmp_path: Path) -> None:
    labels = described("retrain")["Labels"]
    if labels["ratchet.recipe"] != recipe_digest("retrain", base_image()):  # type: ignore[index]  # a mapping in the format
        pytest.skip(
            "localhost/ratchet/retrain is of another state of the code: make images ARGS=retrain"
        )
    told = dict([revision_argument("retrain")[1].split("=")])
    assert environment("retrain")["RETRAIN_GIT_REVISION"] == told["REVISION"] != "unknown"
    with root_of("retrain") as root:
        code = "from retrain.settings import read_settings; print(read_settings().git_revision)"
        ran = as_a_pod(
            root, "/app/bin/python", "-c", code, log=tmp_path / "log", given=environment("retrain")
        )
        assert ran.process.wait(60) == 0, ran.log_tail()
    assert ran.log_tail().strip() == told["REVISION"]


@pytest.mark.e2e
def test_an_image_built_twice_of_wheels_fetched_twice_is_the_same_image() -> None:
    image("client_api")
    first = build("client_api")
    digest = _digest(first.local)
    subprocess.run(["buildah", "rmi", first.local], capture_output=True, check=True)
    for wheel in fetch("client_api").glob("*.whl"):
        wheel.touch()  # as fetched by another machine at another time
    assert _digest(build("client_api").local) == digest


def test_an_image_of_the_same_is_taken_and_one_of_something_else_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image("client_api")
    build("client_api")
    built = []
    monkeypatch.setattr("infra.images.build._bud", lambda *what: built.append(what))
    build("client_api")
    assert built == []
    monkeypatch.setattr("infra.images.build._copied", lambda _: iter([LOCKS / "dev.txt"]))
    build("client_api")
    assert len(built) == 1


def _digest(local: str) -> str:
    return subprocess.run(
        ["buildah", "images", "--quiet", "--no-trunc", local],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def _status(program: Program) -> dict[str, str]:
    lines = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{program.process.pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    return {name: lines[name].split()[0] for name in ("Uid", "Gid", "CapEff", "NoNewPrivs")}
