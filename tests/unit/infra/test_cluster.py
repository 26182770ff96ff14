"""The local cluster's decisions: what git wants, what an image holds, when a release comes.

No processes, no git.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from infra.local.cluster.controller import Controller
from infra.local.cluster.desired import Unreadable, Workload, read_desired
from infra.local.cluster.images import ImageUnusable, pull
from infra.local.cluster.rollout import Rollout, Timing
from infra.local.cluster.source import Commit
from infra.local.cluster.status import deployment
from promote.contract import Release, Slot
from promote.images.image import Blob
from promote.release.manifest import first_files, render
from promote.release.slot import release_path
from retrain.contract import digest_of_bytes
from tests.fakes.servers import FakeServer, FakeStarter

TIMING = Timing(min_ready_seconds=3, deadline_seconds=60, drain_seconds=1.5, backoff_seconds=2)


def release(version: int, model: str = "flight-delay") -> Release:
    digests = [
        digest_of_bytes(f"{what} {version}".encode()) for what in ("image", "model", "verdict")
    ]
    return Release(
        model=model,
        version=version,
        image=f"ratchet/{model}@{digests[0]}",
        model_digest=digests[1],
        verdict_digest=digests[2],
    )


def workload(version: int, *, replicas: int = 1) -> Workload:
    return Workload("server-flight-delay", release(version), replicas)


@dataclass
class World:
    """One model's rollout and a clock one turns by hand."""

    starter: FakeStarter = field(default_factory=FakeStarter)
    said: list[str] = field(default_factory=list)
    now: float = 100.0
    replicas: int = 1

    def __post_init__(self) -> None:
        self.rollout = Rollout(
            workload(1, replicas=self.replicas),
            self.starter,
            TIMING,
            self.said.append,
            changed_at=self.now,
        )

    def go(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += 0.25
            self.rollout.step(self.now)

    def serving_first(self) -> FakeServer:
        self.go(0.25)
        for server in self.starter.started:
            server.ready = True
        self.go(3.5)
        assert self.rollout.endpoints() == [server.url for server in self.starter.started]
        return self.starter.started[0]

    def want(self, version: int) -> None:
        self.rollout.want(workload(version, replicas=self.replicas), self.now)
        self.go(0.25)

    @property
    def newest(self) -> FakeServer:
        return self.starter.started[-1]

    def status(self) -> dict[str, int]:
        return deployment(self.rollout, self.now)["status"]

    def progressing(self) -> dict[str, str]:
        return self.status()["conditions"][1]  # type: ignore[index, return-value]


def test_a_server_serves_only_after_it_stayed_ready() -> None:
    world = World()
    world.go(2)
    world.newest.ready = True
    world.go(2.5)
    assert world.rollout.endpoints() == []
    world.go(1)
    assert world.rollout.endpoints() == [world.newest.url]


def test_the_old_release_serves_until_the_new_one_stayed_ready_and_is_drained_before_it_ends() -> (
    None
):
    world = World()
    old = world.serving_first()
    world.want(2)
    world.newest.ready = True
    world.go(2)
    assert world.rollout.endpoints() == [old.url]
    world.go(1.25)
    assert world.rollout.endpoints() == [world.newest.url]
    assert not old.asked_to_end
    assert world.status()["replicas"] == 2
    world.go(1.75)
    assert old.asked_to_end
    assert (
        world.status()["replicas"],
        world.status()["updatedReplicas"],
        world.status()["availableReplicas"],
    ) == (1, 1, 1)
    assert world.progressing()["reason"] == "NewReplicaSetAvailable"


def test_a_server_that_crashes_after_ready_and_before_it_stayed_ready_never_serves() -> None:
    world = World()
    old = world.serving_first()
    world.want(2)
    for _ in range(4):
        world.newest.ready = True
        world.go(2)
        world.newest.crash("Segmentation fault")
        world.go(16)
        assert world.rollout.endpoints() == [old.url]
    assert world.progressing()["status"] == "False"


def test_a_server_that_flaps_begins_to_wait_again() -> None:
    world = World()
    world.go(0.25)
    world.newest.ready = True
    world.go(2)
    world.newest.ready = False
    world.go(0.25)
    world.newest.ready = True
    world.go(2.5)
    assert world.rollout.endpoints() == []


def test_a_release_that_never_becomes_ready_is_failed_at_its_deadline_with_the_last_words() -> None:
    world = World()
    old = world.serving_first()
    world.want(2)
    world.newest.words = "ModelAltered: model.onnx is not what was released"
    world.go(59)
    assert world.progressing()["status"] == "True"
    world.go(2)
    assert world.progressing()["reason"] == "ProgressDeadlineExceeded"
    assert world.progressing()["message"] == (
        "server-flight-delay v2 was not ready within 60 s:"
        " ModelAltered: model.onnx is not what was released"
    )
    assert world.rollout.endpoints() == [old.url]


def test_a_revert_is_healthy_at_once_and_ends_the_release_that_did_not_come_up() -> None:
    world = World()
    old = world.serving_first()
    world.want(2)
    bad = world.newest
    world.go(70)
    generation = world.rollout.generation
    world.want(1)
    assert world.rollout.generation == generation + 1
    world.go(2)
    assert bad.asked_to_end
    assert world.rollout.endpoints() == [old.url]
    assert world.progressing()["reason"] == "NewReplicaSetAvailable"


def test_an_image_that_cannot_be_had_is_tried_again_and_said() -> None:
    world = World()
    world.serving_first()
    world.starter.unusable = {2}
    world.want(2)
    assert "the model layer is damaged" in world.progressing()["message"]
    world.starter.unusable = set()
    world.go(4)
    assert world.newest.workload.release.version == 2


def test_a_crashed_server_gets_no_calls_and_is_started_again_with_growing_pauses() -> None:
    world = World()
    world.serving_first()
    world.newest.crash("killed")
    world.go(0.25)
    assert world.rollout.endpoints() == []
    world.go(30)
    starts = len(world.starter.started)
    assert starts == 2
    world.newest.crash("again")
    world.go(3.5)
    assert len(world.starter.started) == 2
    world.go(1)
    assert len(world.starter.started) == 3
    world.newest.ready = True
    world.go(4)
    assert world.rollout.endpoints() == [world.newest.url]
    world.newest.crash("once, after long")
    world.go(2.5)
    assert len(world.starter.started) == 4


def test_one_missed_probe_of_a_serving_server_takes_no_calls_from_it_three_do() -> None:
    world = World()
    old = world.serving_first()
    old.ready = False
    world.go(0.5)
    assert world.rollout.endpoints() == [old.url]
    world.go(0.5)
    assert world.rollout.endpoints() == []


def test_all_replicas_must_be_there_before_the_switch() -> None:
    world = World(replicas=2)
    first = world.serving_first()
    world.want(2)
    world.newest.ready = True
    world.go(10)
    assert world.rollout.endpoints()[0] == first.url
    world.starter.started[2].ready = True
    world.go(4)
    assert world.rollout.endpoints() == [server.url for server in world.starter.started[2:]]


def test_a_stubborn_server_is_killed() -> None:
    world = World()
    old = world.serving_first()
    old.stubborn = True
    world.want(2)
    world.newest.ready = True
    world.go(3.25 + 1.5 + 6)
    assert old.is_running()
    world.go(2)
    assert not old.is_running()


# What git wants


def tree(version: int = 1, **changed: str | None) -> dict[str, bytes]:
    files = dict(first_files(Slot("flight-delay", "production"), replicas=2))
    files[release_path(Slot("flight-delay", "production"))] = render(release(version))
    for folder in ("base", "release"):
        files[f"gitops/models/{folder}/kustomization.yaml"] = b"kind: Kustomization\n"
    for name, text in changed.items():
        path = next(
            path
            for path in files
            if path.endswith(f"/{name.replace('_', '-')}.yaml")
            and "models/base" not in path
            and "models/release" not in path
        )
        if text is None:
            del files[path]
        else:
            files[path] = text.encode()
    return files


def test_what_the_first_pull_request_adds_is_read() -> None:
    desired = read_desired(tree(7), environment="production")
    assert desired.problems == {}
    assert desired.workloads == {"flight-delay": Workload("server-flight-delay", release(7), 2)}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            {"release": None},
            "release.yaml, and gitops/models/flight-delay/production/release.yaml is not in git",
        ),
        ({"release": "data: {image: [}"}, "release.yaml is not YAML"),
        ({"release": "data: {version: 8}"}, "every value is a quoted string; version is not"),
        (
            {"release": 'data: {image: "ratchet/flight-delay:latest"}'},
            "image should be repository@sha256:",
        ),
        (
            {"release": 'data: {image: "../../etc@sha256:' + "a" * 64 + '"}'},
            "image should be repository@sha256:",
        ),
        ({"release": "- 1"}, "expected a mapping, found list"),
        (
            {"release": render(release(1)).decode().replace('version: "1"', 'version: "one"')},
            "version: Input should be a valid integer",
        ),
        ({"kustomization": "resources: [../../bases]"}, "gitops/models/bases is not in git"),
    ],
)
def test_a_model_that_cannot_be_read_is_a_problem_of_its_own(
    changed: dict[str, str | None], sentence: str
) -> None:
    desired = read_desired(tree(**changed), environment="production")
    assert desired.workloads == {}
    assert sentence in desired.problems["flight-delay"]


def test_an_environment_that_cannot_be_read_says_nothing_about_any_model() -> None:
    with pytest.raises(Unreadable, match="is not YAML"):
        read_desired(tree(flight_delay="kind: ["), environment="production")
    with pytest.raises(Unreadable, match="is staging the name of an environment"):
        read_desired(tree(), environment="staging")


def test_a_broken_commit_ends_nothing_and_a_removed_model_is_ended(tmp_path: Path) -> None:
    starter = FakeStarter(ready_at_once=True)
    said: list[str] = []
    endpoints = tmp_path / "endpoints.json"
    controller = Controller(
        environment="production",
        starter=starter,
        timing=replace(TIMING, min_ready_seconds=0),
        endpoints=endpoints,
        folder=tmp_path,
        journal=said.append,
    )

    def take(revision: str, files: dict[str, bytes], now: float) -> dict[str, object]:
        for moment in (now, now + 0.25, now + 10):
            controller.step(Commit(revision, files), moment)
        return dict(json.loads(endpoints.read_text())["models"])

    serving = take("a", tree(1), 0)
    assert serving == {"flight-delay": [{"url": starter.started[0].url}]}
    assert take("b", tree(flight_delay="kind: ["), 20) == serving
    assert "is not YAML" in controller.pages["/"]["problems"]["gitops"]
    assert take("c", tree(release="data: {}"), 40) == serving
    assert "image should be" in controller.pages["/"]["problems"]["flight-delay"]
    without = tree(flight_delay=None)
    without["gitops/clusters/production/platform.yaml"] = b"kind: Kustomization\n"
    assert take("d", without, 60) == {}
    assert not starter.started[0].is_running()
    assert controller.rollouts == {}


def test_a_restarted_cluster_brings_back_what_served_beside_a_release_that_does_not_come_up(
    tmp_path: Path,
) -> None:
    def controller(starter: FakeStarter) -> Controller:
        endpoints = tmp_path / "endpoints.json"
        return Controller(
            environment="production",
            starter=starter,
            timing=TIMING,
            endpoints=endpoints,
            folder=tmp_path,
            journal=lambda _: None,
        )

    before = controller(FakeStarter(ready_at_once=True))
    for moment in range(10):
        before.step(Commit("a", tree(1)), moment)
    starter = FakeStarter(ready_at_once=True, unusable={2})
    after = controller(starter)
    for moment in range(10):
        after.step(Commit("b", tree(2)), moment)
    assert [server.workload.release.version for server in starter.started] == [1]
    assert after.rollouts["flight-delay"].endpoints() == [starter.started[0].url]
    (tmp_path / "served.json").write_text("{")
    assert controller(FakeStarter()).rollouts == {}


# What an image holds


def store(root: Path, members: list[tarfile.TarInfo], *, damage: bool = False) -> str:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    layer = Blob("layer", gzip.compress(packed.getvalue()))
    manifest = Blob("manifest", json.dumps({"layers": [layer.descriptor]}).encode())
    blobs = root / "ratchet" / "flight-delay" / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for blob in (layer, manifest):
        content = blob.content[:-1] if damage and blob is layer else blob.content
        (blobs / blob.digest.removeprefix("sha256:")).write_bytes(content)
    return f"ratchet/flight-delay@{manifest.digest}"


def member(name: str, *, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.size = kind, target, 3 if kind == tarfile.REGTYPE else 0
    return entry


def test_the_files_below_model_are_taken(tmp_path: Path) -> None:
    image = store(
        tmp_path,
        [
            member("model", kind=tarfile.DIRTYPE),
            member("model/model.json"),
            member("model/model.onnx"),
        ],
    )
    pull(tmp_path, image, tmp_path / "into")
    assert sorted(path.name for path in (tmp_path / "into").iterdir()) == [
        "model.json",
        "model.onnx",
    ]


@pytest.mark.parametrize(
    "hostile",
    [
        member("../escaped"),
        member("model/../../escaped"),
        member("/model/model.json"),
        member("model/.."),
        member("model/sub/file"),
        member("etc/passwd"),
        member("model/link", kind=tarfile.SYMTYPE, target="/etc/passwd"),
        member("model/link", kind=tarfile.LNKTYPE, target="/etc/passwd"),
        member("model/pipe", kind=tarfile.FIFOTYPE),
    ],
    ids=lambda entry: f"{entry.name} {entry.type.decode()}",
)
def test_a_layer_that_reaches_out_of_model_is_refused_and_writes_nothing(
    tmp_path: Path, hostile: tarfile.TarInfo
) -> None:
    image = store(tmp_path / "images", [member("model/model.json"), hostile])
    with pytest.raises(ImageUnusable, match="only regular files directly below /model/ are taken"):
        pull(tmp_path / "images", image, tmp_path / "into")
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_a_damaged_layer_a_missing_image_and_a_tag_are_refused(tmp_path: Path) -> None:
    image = store(tmp_path, [member("model/model.json")], damage=True)
    with pytest.raises(ImageUnusable, match="is damaged"):
        pull(tmp_path, image, tmp_path / "into")
    with pytest.raises(ImageUnusable, match="cannot be read from"):
        pull(tmp_path, f"ratchet/flight-delay@{digest_of_bytes(b'other')}", tmp_path / "into")
    with pytest.raises(ImageUnusable, match="is not repository@sha256"):
        pull(tmp_path, "ratchet/flight-delay:latest", tmp_path / "into")
