"""Pushes to a real docker-registry: chunks, broken uploads, mounts, logins, races and damage."""

from __future__ import annotations

import io
import itertools
import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import httpx2
import pytest

from infra.local.processes import Program
from infra.local.registry import start_registry
from promote.errors import (
    ImageRegistryLoginRefused,
    ImageRegistryRefused,
    ImageRegistryUnavailable,
    InvalidImage,
)
from promote.images.content import read_manifest
from promote.images.http import HttpRegistry
from promote.images.image import BaseImage, Image, build_image
from promote.images.opening import open_image_registry
from promote.images.session import RegistrySession
from retrain.contract import canonical_json, digest_of_bytes
from tests.fakes.promotion_world import World, model_folder
from tests.grounds.registry_server import (
    PASSWORD,
    USER,
    Breaking,
    let_through,
    registry_with_password,
    registry_with_tokens,
    start_open_registry,
)

CHUNK_BYTES = 4096
ONNX = bytes(range(256)) * 64  # 16 KiB: five chunks with its tar
FOLDER = {
    "model.onnx": ONNX,
    "model.json": canonical_json(
        {"files": {"model.onnx": digest_of_bytes(ONNX)}, "snapshot_id": digest_of_bytes(b"")}
    ),
}
IMAGE = build_image(FOLDER)
_numbers = itertools.count()
Act: TypeAlias = Callable[[httpx2.Request, httpx2.BaseTransport], httpx2.Response]
Fault: TypeAlias = Callable[[httpx2.Request, httpx2.BaseTransport], httpx2.Response | None]


def image_of(onnx: bytes) -> Image:
    return build_image(
        {
            "model.onnx": onnx,
            "model.json": canonical_json(
                {
                    "files": {"model.onnx": digest_of_bytes(onnx)},
                    "snapshot_id": digest_of_bytes(b""),
                }
            ),
        }
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The URL and the folder of a registry."""
    folder = tmp_path_factory.mktemp("registry")
    program, url = start_open_registry(folder)
    yield url, folder / "images"
    program.stop()


@pytest.fixture
def repository() -> str:
    """One that nothing was pushed to."""
    return f"ratchet/model{next(_numbers)}"


class Opened:
    """A registry over a network with faults. It never waits. Layers go in chunks of 4 KiB."""

    def __init__(self, url: str) -> None:
        self.network = Breaking(let_through)
        self.session = RegistrySession(url, transport=self.network, sleep=lambda _: None)
        self.registry = HttpRegistry(self.session, chunk_bytes=CHUNK_BYTES)

    def breaks(self, fault: Fault) -> None:
        self.network.fault = fault


@pytest.fixture
def opened(server: tuple[str, Path]) -> Iterator[Opened]:
    found = Opened(server[0])
    yield found
    found.registry.close()


def once(is_it: Callable[[httpx2.Request], bool], act: Act) -> Fault:
    left = [1]

    def fault(request: httpx2.Request, inner: httpx2.BaseTransport) -> httpx2.Response | None:
        if left and is_it(request):
            left.clear()
            return act(request, inner)
        return None

    return fault


def is_patch_from(start: int) -> Callable[[httpx2.Request], bool]:
    return lambda request: (
        request.method == "PATCH" and request.headers["content-range"].startswith(f"{start}-")
    )


def never_arrives(request: httpx2.Request, _: httpx2.BaseTransport) -> httpx2.Response:
    raise httpx2.ConnectError("cut", request=request)


def is_answered_in_vain(request: httpx2.Request, inner: httpx2.BaseTransport) -> httpx2.Response:
    inner.handle_request(request).read()
    raise httpx2.ReadError("cut", request=request)


def is_cut_in_the_middle(request: httpx2.Request, inner: httpx2.BaseTransport) -> httpx2.Response:
    """The registry gets half of the body over a real connection that then ends."""
    content = request.read()

    def half() -> Iterator[bytes]:
        yield content[: len(content) // 2]
        raise httpx2.WriteError("cut", request=request)

    return inner.handle_request(
        httpx2.Request(request.method, request.url, headers=request.headers, content=half())
    )


def is_whole(opened: Opened, repository: str) -> bool:
    return (
        opened.registry.find(repository, "v1") == IMAGE.digest
        and opened.registry.model_folder(repository, IMAGE.digest) == FOLDER
    )


def test_a_layer_goes_in_chunks(opened: Opened, repository: str) -> None:
    opened.registry.push(repository, IMAGE, tag="v1")
    assert (
        opened.network.sent("PATCH") == -(-len(IMAGE.model_layer.content) // CHUNK_BYTES) + 1
    )  # and the configuration
    assert is_whole(opened, repository)


def test_what_is_there_is_not_sent_again(opened: Opened, repository: str) -> None:
    opened.registry.push(repository, IMAGE, tag="v1")
    opened.network.requests.clear()
    opened.registry.push(repository, IMAGE, tag="again")
    assert [opened.network.sent(method) for method in ("POST", "PATCH")] == [0, 0]
    assert opened.network.sent("PUT") == 2  # the manifest by its digest and by its tag


def test_a_chunk_that_never_arrived_is_sent_again_and_no_other(
    opened: Opened, repository: str
) -> None:
    opened.breaks(once(is_patch_from(2 * CHUNK_BYTES), never_arrives))
    opened.registry.push(repository, IMAGE, tag="v1")
    starts = [
        request.headers["content-range"].partition("-")[0]
        for request in opened.network.requests
        if request.method == "PATCH"
    ]
    assert starts[:5] == ["0", "4096", "8192", "8192", "12288"]
    assert opened.network.sent("POST", "uploads") == 2
    assert is_whole(opened, repository)


@pytest.mark.parametrize("act", [is_cut_in_the_middle, is_answered_in_vain])
def test_an_upload_that_the_registry_gave_up_after_a_cut_begins_anew(
    opened: Opened, repository: str, act: Act
) -> None:
    opened.breaks(once(is_patch_from(2 * CHUNK_BYTES), act))
    opened.registry.push(repository, IMAGE, tag="v1")
    assert opened.network.sent("POST", "uploads") == 3
    assert is_whole(opened, repository)


@pytest.mark.parametrize(
    "is_it",
    [
        lambda request: request.method == "POST",
        lambda request: request.method == "PUT" and "digest=" in str(request.url),
        lambda request: request.method == "PUT" and "/manifests/sha256" in str(request.url),
        lambda request: request.method == "PUT" and str(request.url).endswith("/manifests/v1"),
        lambda request: request.method == "HEAD",
    ],
    ids=["begin", "end of a blob", "manifest", "tag", "look"],
)
@pytest.mark.parametrize("act", [never_arrives, is_answered_in_vain])
def test_an_answer_or_a_question_lost_once_changes_nothing(
    opened: Opened, repository: str, is_it: Callable[..., bool], act: Act
) -> None:
    opened.breaks(once(is_it, act))
    assert opened.registry.push(repository, IMAGE, tag="v1") == IMAGE.digest
    assert is_whole(opened, repository)


def test_a_cut_that_does_not_end_is_an_outage_and_leaves_no_tag(
    opened: Opened, repository: str
) -> None:
    opened.breaks(
        lambda request, inner: never_arrives(request, inner) if request.method == "PATCH" else None
    )
    with pytest.raises(ImageRegistryUnavailable, match="did not answer PATCH"):
        opened.registry.push(repository, IMAGE, tag="v1")
    assert opened.network.sent("PATCH") <= 5
    opened.breaks(let_through)
    assert opened.registry.find(repository, "v1") is None
    assert opened.registry.push(repository, IMAGE, tag="v1") == IMAGE.digest


def test_an_upload_that_does_not_grow_is_given_up(opened: Opened, repository: str) -> None:
    def says_it_has_the_first_chunk(
        request: httpx2.Request, inner: httpx2.BaseTransport
    ) -> httpx2.Response | None:
        if request.method != "PATCH":
            return None
        answer = inner.handle_request(request)
        answer.headers["range"] = f"0-{CHUNK_BYTES - 1}"
        return answer

    opened.breaks(says_it_has_the_first_chunk)
    with pytest.raises(ImageRegistryUnavailable, match="lost an upload at byte"):
        opened.registry.push(repository, IMAGE, tag="v1")
    assert opened.network.sent("PATCH") < 20


def test_a_tag_that_another_took_meanwhile_is_refused(opened: Opened, repository: str) -> None:
    """A registry has no compare-and-set: the look after the push finds the other's image."""
    other = HttpRegistry(opened.session)

    def take(request: httpx2.Request, inner: httpx2.BaseTransport) -> httpx2.Response:
        answer = inner.handle_request(request)
        answer.read()
        opened.breaks(let_through)
        other._uploads.put_blob(
            repository, another.config.digest, io.BytesIO(another.config.content)
        )
        other._uploads.put_blob(
            repository, another.model_layer.digest, io.BytesIO(another.model_layer.content)
        )
        other._put_manifest(repository, "v1", another)
        return answer

    another = image_of(b"another")
    opened.breaks(
        once(
            lambda request: request.method == "PUT" and str(request.url).endswith("/manifests/v1"),
            take,
        )
    )
    with pytest.raises(ImageRegistryRefused, match=f"already names {another.digest}"):
        opened.registry.push(repository, IMAGE, tag="v1")


def test_the_same_image_pushed_by_four_at_once_is_there_once(
    server: tuple[str, Path], repository: str
) -> None:
    with ExitStack() as close, ThreadPoolExecutor(4) as pool:
        writers = [Opened(server[0]) for _ in range(4)]
        for writer in writers:
            close.callback(writer.registry.close)
        assert set(
            pool.map(lambda writer: writer.registry.push(repository, IMAGE, tag="v1"), writers)
        ) == {IMAGE.digest}
        assert is_whole(writers[0], repository)


@pytest.mark.parametrize(("faults", "pushed"), [(1, True), (100, False)])
def test_a_blob_that_the_registry_does_not_see_yet_is_looked_for_again_and_not_for_ever(
    opened: Opened, repository: str, faults: int, pushed: bool
) -> None:
    left = iter(range(faults))

    def lacks_a_blob(
        request: httpx2.Request, _inner: httpx2.BaseTransport
    ) -> httpx2.Response | None:
        if (
            request.method != "PUT"
            or "/manifests/" not in str(request.url)
            or next(left, None) is None
        ):
            return None
        errors = [
            {"code": "DIGEST_INVALID", "message": "as scripted"},
            {"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown to registry"},
        ]
        return httpx2.Response(400, json={"errors": errors}, request=request)

    opened.breaks(lacks_a_blob)
    if pushed:
        assert opened.registry.push(repository, IMAGE, tag="v1") == IMAGE.digest
    else:
        with pytest.raises(ImageRegistryRefused, match="MANIFEST_BLOB_UNKNOWN"):
            opened.registry.push(repository, IMAGE, tag="v1")


def test_a_damaged_layer_is_never_read_as_a_model(
    opened: Opened, repository: str, server: tuple[str, Path]
) -> None:
    other = image_of(b"to be damaged")
    opened.registry.push(repository, other, tag="v1")
    digest = other.model_layer.digest.removeprefix("sha256:")
    path = server[1] / "docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(InvalidImage, match=f"should be {other.model_layer.digest} and is"):
        opened.registry.model_folder(repository, other.digest)


def test_an_image_that_lost_a_blob_counts_as_not_there_and_is_mended(
    server: tuple[str, Path], repository: str
) -> None:
    writer, reader = Opened(server[0]), Opened(server[0])
    writer.registry.push(repository, IMAGE, tag="v1")
    link = (
        server[1]
        / "docker/registry/v2/repositories"
        / repository
        / "_layers/sha256"
        / IMAGE.config.digest[7:]
        / "link"
    )
    link.unlink()
    assert reader.registry.find(repository, "v1") is None
    assert reader.registry.push(repository, IMAGE, tag="v1") == reader.registry.find(
        repository, "v1"
    )
    writer.registry.close()
    reader.registry.close()


def push_base(url: str, architecture: str = "amd64", *, in_index: bool = False) -> str:
    """Push an image that can be a base; return its name and digest."""
    opened = Opened(url)
    image = image_of(b"the server's own files")
    digest = opened.registry.push("ratchet/serving", image, tag=f"base{next(_numbers)}")
    if in_index:
        other = opened.registry.push(
            "ratchet/serving", image_of(b"of another machine"), tag=f"other{next(_numbers)}"
        )
        machines = [
            ("arm64", other),
            (architecture, digest),
        ]  # a registry takes an index of images that it has
        platforms = [
            {"digest": named, "platform": {"os": "linux", "architecture": machine}}
            for machine, named in machines
        ]
        manifests = [{**image.manifest.descriptor, **platform} for platform in platforms]
        index = canonical_json(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": manifests,
            }
        )
        headers = {"Content-Type": "application/vnd.oci.image.index.v1+json"}
        opened.session.send(
            "PUT",
            f"/v2/ratchet/serving/manifests/{digest_of_bytes(index)}",
            answers={201},
            content=index,
            headers=headers,
        )
        digest = digest_of_bytes(index)
    opened.registry.close()
    return f"ratchet/serving@{digest}"


@pytest.mark.parametrize("in_index", [False, True], ids=["image", "index"])
def test_the_layers_of_a_base_are_mounted_not_sent(
    server: tuple[str, Path], repository: str, in_index: bool
) -> None:
    base = push_base(server[0], in_index=in_index)
    network = Breaking(let_through)
    registry = open_image_registry(server[0], base_image=base, transport=network)
    image = build_image(FOLDER, base=registry.base_image())
    assert len(image.base_layers) == 1
    assert (
        registry.push(repository, image, tag="v1")
        == registry.find(repository, "v1")
        == image.digest
    )
    assert network.sent("POST", f"mount={image.base_layers[0]['digest']}") == 1
    assert network.sent("PATCH") == 2  # model layer and configuration
    assert registry.model_folder(repository, image.digest) == FOLDER
    registry.close()


def test_a_refused_mount_is_continued_at_its_upload(
    server: tuple[str, Path], repository: str
) -> None:
    def refuses(request: httpx2.Request, inner: httpx2.BaseTransport) -> httpx2.Response | None:
        """Ask for a mount from a repository that lacks the blob: distribution begins an upload."""
        if "mount=" not in str(request.url):
            return None
        url = request.url.copy_set_param("from", "ratchet/without-the-blob")
        return inner.handle_request(httpx2.Request("POST", url, headers=request.headers))

    network = Breaking(refuses)
    registry = open_image_registry(server[0], base_image=push_base(server[0]), transport=network)
    image = build_image(FOLDER, base=registry.base_image())
    assert registry.push(repository, image, tag="v1") == registry.find(repository, "v1")
    assert network.sent("POST", "mount=") == 1
    assert network.sent("POST") == 3  # the mount, the model layer and the configuration
    assert network.sent("PATCH") == 3
    assert registry.model_folder(repository, image.digest) == FOLDER
    registry.close()


def test_the_layers_of_a_base_elsewhere_are_copied_once(
    server: tuple[str, Path], repository: str, tmp_path: Path
) -> None:
    base = push_base(server[0])
    program, url = start_open_registry(tmp_path)
    try:
        network = Breaking(let_through)
        registry = open_image_registry(url, base_image=f"{server[0]}/{base}", transport=network)
        for onnx in (b"one", b"two"):
            image = build_image(
                {
                    "model.onnx": onnx,
                    "model.json": canonical_json(
                        {
                            "files": {"model.onnx": digest_of_bytes(onnx)},
                            "snapshot_id": digest_of_bytes(b""),
                        }
                    ),
                },
                base=registry.base_image(),
            )
            assert registry.push(repository, image, tag=onnx.decode()) == registry.find(
                repository, onnx.decode()
            )
        assert (
            network.sent("PATCH") == 5
        )  # the base's layer once; two model layers and configurations
        registry.close()
    finally:
        program.stop()


def test_a_base_that_is_not_there_or_for_another_machine_is_named(server: tuple[str, Path]) -> None:
    absent = open_image_registry(
        server[0], base_image=f"ratchet/serving@{digest_of_bytes(b'absent')}"
    )
    with pytest.raises(InvalidImage, match="is absent"):
        absent.base_image()
    absent.close()
    other = open_image_registry(
        server[0], base_image=push_base(server[0], "riscv64", in_index=True)
    )
    with pytest.raises(InvalidImage, match="has no linux/amd64"):
        other.base_image()
    other.close()


def test_a_base_whose_configuration_is_of_another_machine_is_refused(
    server: tuple[str, Path],
) -> None:
    config = canonical_json(
        {"architecture": "arm64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
    )
    image = build_image(
        FOLDER,
        base=BaseImage(
            canonical_json({"config": {"digest": digest_of_bytes(config)}, "layers": []}), config
        ),
    )
    opened = Opened(server[0])
    digest = opened.registry.push("ratchet/serving", image, tag=f"arm{next(_numbers)}")
    registry = open_image_registry(server[0], base_image=f"ratchet/serving@{digest}")
    with pytest.raises(InvalidImage, match="is not for linux/amd64"):
        registry.base_image()
    registry.close()
    opened.registry.close()


def test_a_promotion_ships_on_the_base_and_names_where_the_cluster_pulls(
    server: tuple[str, Path], opened: Opened
) -> None:
    registry = open_image_registry(
        server[0], base_image=push_base(server[0]), pull_host="registry.local:5000"
    )
    world = World(images=registry)
    world.ship()
    name, _, digest = world.release_on_main().image.partition("@")
    assert name == "registry.local:5000/ratchet/flight-delay"
    assert len(read_manifest(opened.session, "ratchet/flight-delay", digest)["layers"]) == 2
    assert registry.model_folder("ratchet/flight-delay", digest) == model_folder(1)
    registry.close()


def test_a_registry_with_a_password_takes_ours_and_refuses_another(
    tmp_path: Path, repository: str
) -> None:
    with registry_with_password(tmp_path) as url:
        registry = open_image_registry(url, user=USER, password=PASSWORD)
        assert registry.push(repository, IMAGE, tag="v1") == registry.find(repository, "v1")
        registry.close()
        for user, password in [(USER, "wrong"), ("", "")]:
            stranger = open_image_registry(url, user=user, password=password)
            with pytest.raises(ImageRegistryLoginRefused, match="PROMOTE_IMAGES_USER") as caught:
                stranger.find(repository, "v1")
            assert PASSWORD not in str(caught.value)
            stranger.close()


def test_a_registry_with_tokens_is_pushed_to_with_one_for_each_need(
    tmp_path: Path, repository: str
) -> None:
    with registry_with_tokens(tmp_path) as (url, tokens):
        registry = open_image_registry(url, user=USER, password=PASSWORD)
        registry.push("ratchet/serving", image_of(b"base"), tag="base")
        registry.close()
        based = open_image_registry(
            url,
            base_image=f"ratchet/serving@{image_of(b'base').digest}",
            user=USER,
            password=PASSWORD,
        )
        image = build_image(FOLDER, base=based.base_image())
        assert based.push(repository, image, tag="v1") == based.find(repository, "v1")
        based.close()
        asked = [
            {scope.rpartition(":")[2] for scope in scopes if repository in scope}
            for scopes in tokens.scopes
        ]
        assert {"pull"} in asked
        assert {"pull,push"} in asked or {"push,pull"} in asked
        assert any(len(scopes) == 2 for scopes in tokens.scopes), (
            "a mount needs both repositories in one token"
        )
        stranger = open_image_registry(url, user=USER, password="wrong")
        with pytest.raises(ImageRegistryLoginRefused, match="who are you"):
            stranger.find(repository, "v1")
        stranger.close()


def test_a_token_that_expired_is_fetched_again(tmp_path: Path, repository: str) -> None:
    with registry_with_tokens(tmp_path) as (url, tokens):
        session = RegistrySession(url, credentials=lambda: (USER, PASSWORD))
        scopes = [f"repository:{repository}:pull,push"]
        session._token = (
            f"Bearer {tokens.token(scopes, seconds=-120)}"  # distribution forgives 60 s
        )
        assert HttpRegistry(session).push(repository, IMAGE, tag="v1") == IMAGE.digest
        assert tokens.scopes, "the old token would do: the test shows nothing"
        session.close()


def test_a_registry_that_dies_is_an_outage_and_later_goes_on(
    tmp_path: Path, repository: str
) -> None:
    program, url = start_open_registry(tmp_path)
    opened = Opened(url)

    def die(request: httpx2.Request, inner: httpx2.BaseTransport) -> httpx2.Response | None:
        if is_patch_from(CHUNK_BYTES)(request) and program.is_running:
            program.signal(signal.SIGKILL)
            program.process.wait()
        return None

    opened.breaks(die)
    with pytest.raises(ImageRegistryUnavailable, match="did not answer"):
        opened.registry.push(repository, IMAGE, tag="v1")
    again: Program | None = None
    try:
        again, _ = start_registry(tmp_path, int(url.rpartition(":")[2]))
        assert opened.registry.find(repository, "v1") is None
        assert opened.registry.push(repository, IMAGE, tag="v1") == IMAGE.digest
        assert is_whole(opened, repository)
    finally:
        opened.registry.close()
        if again:
            again.stop()


@pytest.mark.skipif(
    shutil.which("skopeo") is None, reason="skopeo reads our images back: apt-get install skopeo"
)
def test_skopeo_reads_the_image_back_by_its_digest(
    server: tuple[str, Path], opened: Opened, repository: str
) -> None:
    opened.registry.push(repository, IMAGE, tag="v1")
    reference = f"docker://{opened.registry.reference(repository, IMAGE.digest)}"
    run = subprocess.run(
        ["skopeo", "--insecure-policy", "inspect", "--tls-verify=false", reference],
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert json.loads(run.stdout)["Digest"] == IMAGE.digest
