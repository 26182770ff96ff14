"""What a cluster needs of a machine and leaves there: addresses, builds, control groups.

No cluster runs here.
"""

import json
import shutil
import string
from pathlib import Path

import pytest
from cryptography import x509

from infra.local.kubernetes import build, control_groups, doctor, existing, network
from infra.local.kubernetes.__main__ import main
from infra.local.kubernetes.certificates import Authority, issue_all
from infra.local.kubernetes.components import STAGES, Places, identities
from infra.local.kubernetes.configuration import write_all
from infra.local.kubernetes.errors import ClusterUnusable, MachineLacks
from infra.local.kubernetes.network import Network
from infra.local.kubernetes.state import (
    ComponentState,
    State,
    is_room,
    is_supervisor,
    read_state,
    remove_contents,
)
from infra.local.processes import free_port


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    folder = tmp_path / "modules"
    shutil.copytree(build.MODULES, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return folder


def places(folder: Path) -> Places:
    return Places.of(folder, Path("/built"), Network(3), Path("/usr/lib/cni"))


class TestBuilds:
    def test_the_same_modules_have_the_same_key(self, modules: Path) -> None:
        assert build.build_key(modules) == build.build_key()

    @pytest.mark.parametrize(
        "name",
        [
            "kube/go.mod",
            "flux/go.mod",
            "tools/go.mod",
            "etcd/go.mod",
            "flux/source-controller.txt",
            "tools/pause/main.go",
        ],
    )
    def test_a_change_of_any_module_is_another_key(self, modules: Path, name: str) -> None:
        before = build.build_key(modules)
        (modules / name).write_text((modules / name).read_text() + "\n// changed\n")
        assert build.build_key(modules) != before

    def test_the_version_that_is_linked_in_is_the_modules(self) -> None:
        assert build.kubernetes_version().startswith("v1.")

    def test_every_replacement_has_the_version_of_kubernetes_itself(self) -> None:
        replaced = [
            line.split()[-1]
            for line in (build.MODULES / "kube/go.mod").read_text().splitlines()
            if " => k8s.io/" in line
        ]
        assert len(replaced) > 25
        assert {version.removeprefix("v0.") for version in replaced} == {
            build.kubernetes_version().removeprefix("v1.")
        }

    def test_a_folder_counts_as_built_when_nothing_is_missing(self, tmp_path: Path) -> None:
        (tmp_path / "crds").mkdir()
        for binary in build.BINARIES:
            assert not build.is_built(tmp_path)
            (tmp_path / binary.name).touch()
        assert build.is_built(tmp_path)

    def test_the_cache_lies_outside_the_repository(self) -> None:
        assert build.cache_folder({"XDG_CACHE_HOME": "/x"}) == Path("/x/ratchet")


class TestDoctor:
    def test_all_that_is_missing_is_said_at_once_with_how_to_get_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(doctor.shutil, "which", lambda _name, **_more: None)
        monkeypatch.setattr(doctor.os, "geteuid", lambda: 1000)
        with pytest.raises(MachineLacks) as said:
            doctor.check_run(tmp_path)
        for part in (
            "sudo",
            "containerd",
            "docker-registry",
            "apt-get install --no-install-recommends",
        ):
            assert part in str(said.value)

    def test_a_build_without_go_says_where_go_is(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(doctor.shutil, "which", lambda _name: None)
        with pytest.raises(MachineLacks, match=r"go\.dev/dl"):
            doctor.check_build(tmp_path)

    def test_a_full_disk_is_said_before_anything_is_built(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(doctor, "BUILD_GIB", 10**6)
        with pytest.raises(MachineLacks, match="RATCHET_CACHE names another place"):
            doctor.check_build(tmp_path / "not" / "there" / "yet")


class TestNetwork:
    def test_no_two_clusters_share_an_address(self) -> None:
        blocks = [Network(number).block for number in range(64)]
        assert not any(
            one.overlaps(other) for index, one in enumerate(blocks) for other in blocks[index + 1 :]
        )

    def test_a_block_that_the_host_routes_already_is_left_alone(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[list[str]] = []
        monkeypatch.setattr(network, "_routes", lambda: [Network(0).block, Network(1).block])
        monkeypatch.setattr(network, "_try", lambda command: made.append(command) is None)
        monkeypatch.setattr(network, "_configure", lambda _network, _pid: None)
        assert network.connect(1) == Network(2)
        assert len(made) == 1

    def test_a_link_that_another_cluster_made_in_the_meantime_is_not_taken(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(network, "_routes", list)
        monkeypatch.setattr(network, "_try", lambda command: command[3] == "ratchet5")
        monkeypatch.setattr(network, "_configure", lambda _network, _pid: None)
        assert network.connect(1) == Network(5)


class TestControlGroups:
    def test_version_one_gets_a_group_in_every_hierarchy_and_loses_all_of_them(
        self, tmp_path: Path
    ) -> None:
        for hierarchy in ("cpu", "memory"):
            (tmp_path / hierarchy).mkdir()
            (tmp_path / hierarchy / "cgroup.procs").touch()
        (tmp_path / "no-hierarchy").mkdir()
        control_groups.create("ratchet0", tmp_path)
        (tmp_path / "cpu/ratchet0/kubepods/pod1").mkdir(parents=True)
        assert control_groups.remove("ratchet0", tmp_path)
        assert sorted(path.name for path in tmp_path.rglob("*") if path.is_dir()) == [
            "cpu",
            "memory",
            "no-hierarchy",
        ]

    def test_version_two_passes_on_the_one_controller_that_is_lacking(self, tmp_path: Path) -> None:
        (tmp_path / "cgroup.controllers").write_text("cpu memory pids cpuset io")
        (tmp_path / "cgroup.subtree_control").write_text("cpu memory pids")
        control_groups.create("ratchet0", tmp_path)
        assert (
            tmp_path / "cgroup.subtree_control"
        ).read_text() == "+cpuset"  # the kernel adds; a file is replaced
        assert (tmp_path / "ratchet0").is_dir()

    def test_a_group_that_is_held_is_reported(self, tmp_path: Path) -> None:
        (tmp_path / "cgroup.controllers").touch()
        (tmp_path / "cgroup.subtree_control").touch()
        control_groups.create("ratchet0", tmp_path)
        (tmp_path / "ratchet0/held").touch()
        assert not control_groups.remove("ratchet0", tmp_path, timeout_seconds=0)


class TestComponents:
    def test_every_place_that_a_component_names_is_known(self, tmp_path: Path) -> None:
        for component in (component for stage in STAGES for component in stage):
            filled = [*component.words(places(tmp_path)), places(tmp_path).fill(component.probe)]
            assert not any(set(word) & set("{}") for word in filled)

    def test_a_folder_with_a_blank_stays_one_word(self, tmp_path: Path) -> None:
        words = STAGES[0][0].words(places(tmp_path / "a b"))
        assert f"--data-dir={tmp_path}/a b/etcd" in words

    def test_only_the_source_runs_where_the_forge_is(self) -> None:
        assert [
            component.name for stage in STAGES for component in stage if not component.is_inside
        ] == ["source"]

    def test_what_holds_the_clusters_secrets_listens_inside_only(self) -> None:
        etcd = STAGES[0][0]
        assert all(
            "127.0.0.1" in word for word in etcd.words(places(Path("/f"))) if "urls=" in word
        )

    def test_configuration_names_no_place_of_the_host_but_the_folders(self, tmp_path: Path) -> None:
        write_all(places(tmp_path))
        written = {
            path.name: path.read_text()
            for path in (tmp_path / "config").rglob("*")
            if path.is_file()
        }
        assert json.loads(written["10-ratchet.conflist"])["plugins"][0]["ipam"]["ranges"] == [
            [{"subnet": "10.87.13.0/24"}]
        ]
        assert "/etc/" not in "".join(written.values())
        assert "/opt/" not in "".join(written.values())

    def test_the_python_that_starts_the_source_is_ours(self, tmp_path: Path) -> None:
        source = STAGES[-1][-1].words(places(tmp_path))
        assert source[1:4] == ["-m", "infra.local.kubernetes", "source"]


class TestCertificates:
    def test_kubernetes_reads_users_and_groups_from_them(self, tmp_path: Path) -> None:
        issue_all(Authority(tmp_path), identities(Network(0)))
        kubelet = x509.load_pem_x509_certificate((tmp_path / "kubelet.crt").read_bytes())
        assert kubelet.subject.rfc4514_string() == "CN=system:node:ratchet,O=system:nodes"

    def test_the_api_server_may_be_called_by_every_name_it_has(self, tmp_path: Path) -> None:
        issue_all(Authority(tmp_path), identities(Network(0)))
        certificate = x509.load_pem_x509_certificate((tmp_path / "apiserver.crt").read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
        assert addresses == {"127.0.0.1", "10.87.0.2", "10.87.2.1"}
        assert "kubernetes.default.svc" in names.get_values_for_type(x509.DNSName)

    def test_keys_are_for_the_owner_only(self, tmp_path: Path) -> None:
        authority = Authority(tmp_path / "pki")
        issue_all(authority, identities(Network(0)))
        authority.write_kubeconfig(tmp_path / "kubeconfig", "admin", "https://127.0.0.1")
        assert {
            path.stat().st_mode & 0o77
            for path in [*(tmp_path / "pki").iterdir(), tmp_path / "kubeconfig"]
        } == {0}


class TestState:
    def test_it_reads_as_it_was_written(self, tmp_path: Path) -> None:
        state = State(17, network=3, components={"etcd": ComponentState(18, restarts=2)})
        state.write(tmp_path)
        assert read_state(tmp_path) == state

    def test_a_process_that_got_the_supervisors_id_later_is_not_it(self, tmp_path: Path) -> None:
        assert not is_supervisor(1, tmp_path)
        assert not is_room(1)

    def test_logs_survive_the_end(self, tmp_path: Path) -> None:
        for name in ("logs", "pki", "etcd"):
            (tmp_path / name).mkdir()
        remove_contents(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["logs"]


class TestClusterThatExists:
    def test_a_kubeconfig_that_does_not_exist_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ClusterUnusable, match="does not exist"):
            existing.describe(tmp_path / "none")

    def test_a_dead_one_does_not_serve_and_nothing_is_built(self, tmp_path: Path) -> None:
        if not build.is_built():
            pytest.skip("kubectl is not there: make cluster-build")
        cluster = {"name": "c", "cluster": {"server": f"https://127.0.0.1:{free_port()}"}}
        context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [cluster],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [context],
        }
        (tmp_path / "kubeconfig").write_text(json.dumps({**config, "current-context": "x"}))
        with pytest.raises(ClusterUnusable, match=r"kubeconfig does not serve: .*refused"):
            existing.describe(tmp_path / "kubeconfig")

    def test_one_without_flux_is_told_what_it_lacks(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answers = {
            "version": '{"serverVersion": {"gitVersion": "v1.34.4"}}',
            "get": "customresourcedefinition.apiextensions.k8s.io/"
            "kustomizations.kustomize.toolkit.fluxcd.io\n",
        }
        monkeypatch.setattr(existing, "_kubectl", lambda _path, *arguments: answers[arguments[0]])
        (tmp_path / "kubeconfig").touch()
        with pytest.raises(
            ClusterUnusable, match=r"no gitrepositories\.source\.toolkit\.fluxcd\.io: install Flux"
        ):
            existing.describe(tmp_path / "kubeconfig")

    def test_it_is_never_ended_by_us(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "theirs"))
        assert main(["down", "--folder", str(tmp_path)]) == 0
        assert "not ours" in capsys.readouterr().out

    def test_without_any_cluster_status_says_how_to_start_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delenv("KUBECONFIG", raising=False)
        assert main(["status", "--folder", str(tmp_path)]) == 1
        assert "make cluster-up" in capsys.readouterr().out


def test_the_words_of_a_component_name_only_places() -> None:
    known = set(Places.__dataclass_fields__)
    for component in (component for stage in STAGES for component in stage):
        named = {
            name
            for _text, name, _format, _conversion in string.Formatter().parse(component.command)
            if name
        }
        assert named <= known
