"""After a real cluster the host is as it was before, however the cluster ended."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.local.kubernetes.build import built_folder, cache_folder
from infra.local.kubernetes.cluster import start_cluster
from infra.local.kubernetes.errors import ClusterError
from infra.local.kubernetes.state import read_state
from tests.grounds.kubernetes_ground import wait_until, why_not

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.kubernetes,
    pytest.mark.timeout(300),
]


class TestEnd:
    """The host is as it was before."""

    @pytest.fixture(autouse=True)
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Give the test its own home: other programs may write to ~/.kube at the same time."""
        monkeypatch.setenv("RATCHET_CACHE", str(cache_folder()))
        monkeypatch.setenv("HOME", str(tmp_path))

    def test_after_down(self, tmp_path: Path) -> None:
        before = machine()
        running = start_cluster(tmp_path / "cluster")
        left = footprint(running.folder)
        assert len(traces(left)) > 20
        running.stop()
        assert traces(left) == []
        assert machine() == before

    def test_after_the_supervisor_was_killed(self, tmp_path: Path) -> None:
        before = machine()
        running = start_cluster(tmp_path / "cluster")
        left = footprint(running.folder)
        kill_supervisor(running.folder)
        wait_until(lambda: all(trace.startswith("group") for trace in traces(left)), seconds=15)
        assert machine() == before
        running.stop()  # the kernel keeps empty control groups
        assert traces(left) == []

    def test_after_the_program_that_started_it_was_killed(self, tmp_path: Path) -> None:
        before = machine()
        imports = "import sys, time; from pathlib import Path"
        imports += "; from infra.local.kubernetes.cluster import start_cluster"
        code = f"{imports}; start_cluster(Path(sys.argv[1])); time.sleep(600)"
        caller = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "cluster")])
        wait_until(
            lambda: (
                (found := read_state(tmp_path / "cluster")) is not None and found.phase == "ready"
            ),
            seconds=90,
        )
        left = footprint(tmp_path / "cluster")
        caller.kill()
        caller.wait()
        wait_until(lambda: traces(left) == [], seconds=30)
        assert machine() == before

    def test_the_commands_tell_the_same_story(self, tmp_path: Path) -> None:
        before = machine()
        folder = tmp_path / "cluster"
        assert "KUBECONFIG=" in command("up", folder)
        left = footprint(folder)
        assert "apiserver" in command("status", folder)
        assert "KUBECONFIG=" in command("up", folder), "a second up finds the first"
        assert f"{folder}/kubeconfig: Kubernetes v1." in command(
            "up", tmp_path / "other", KUBECONFIG=str(folder / "kubeconfig")
        )
        assert "ended" in command("down", folder)
        assert "nothing ran" in command("down", folder)
        assert traces(left) == []
        assert machine() == before

    def test_two_clusters_do_not_meet(self, tmp_path: Path) -> None:
        one, two = start_cluster(tmp_path / "one"), start_cluster(tmp_path / "two")
        assert one.network != two.network
        one.stop()
        assert "ratchet" in two.kubectl("get", "nodes")
        two.stop()


def test_a_component_that_ends_at_once_is_named_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "bin"
    shutil.copytree(built_folder(), broken, symlinks=True, copy_function=os.symlink)
    (broken / "etcd").unlink()
    (broken / "etcd").write_text("#!/bin/sh\necho no space left; exit 3\n")
    (broken / "etcd").chmod(0o755)
    monkeypatch.setattr("infra.local.kubernetes.cluster.built_folder", lambda: broken)
    with pytest.raises(ClusterError, match=r"(?s)etcd.*no space left"):
        start_cluster(tmp_path / "cluster")
    assert processes(lambda _namespace, words: str(tmp_path) in words) == []


@dataclass(frozen=True)
class Footprint:
    """What one cluster puts on the host. No other cluster uses the same names."""

    folder: Path
    link_index: int
    group_inodes: dict[str, int]
    namespace: str


def footprint(folder: Path) -> Footprint:
    state = read_state(folder)
    assert state is not None
    assert state.network is not None
    link = json.loads(run("ip", "-json", "link", "show", f"ratchet{state.network}"))[0]
    groups = {
        str(path): path.stat().st_ino
        for path in Path("/sys/fs/cgroup").glob(f"**/ratchet{state.network}")
    }
    return Footprint(
        folder, link["ifindex"], groups, str(Path(f"/proc/{state.room}/ns/pid").readlink())
    )


def traces(of: Footprint) -> list[str]:
    """What of it is on the host now."""
    links = [
        f"link {link['ifname']}"
        for link in json.loads(run("ip", "-json", "link"))
        if link["ifindex"] == of.link_index
    ]
    groups = [
        f"group {path}"
        for path, inode in of.group_inodes.items()
        if Path(path).exists() and Path(path).stat().st_ino == inode
    ]
    mounts = [
        f"mount {line}"
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if str(of.folder) in line
    ]
    return [
        *links,
        *groups,
        *mounts,
        *processes(lambda namespace, words: namespace == of.namespace or f"{of.folder}" in words),
    ]


def processes(is_meant: Callable[[str, str], bool]) -> list[str]:
    """Those that live, by process namespace and words."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            namespace, words = (
                str((process / "ns/pid").readlink()),
                (process / "cmdline").read_bytes().decode(errors="replace").replace("\0", " "),
            )
        except OSError:
            continue
        if is_meant(namespace, words):
            found.append(f"process {process.name} {words}")
    return found


def machine() -> dict[str, Any]:
    """What all programs of the host share, and a cluster could change."""
    tunables = (
        "vm/overcommit_memory",
        "kernel/panic",
        "kernel/panic_on_oops",
        "net/ipv4/ip_forward",
    )
    folders = (
        Path.home() / ".kube",
        *map(Path, ("/run/containerd", "/var/lib/kubelet", "/var/log/pods", "/opt/containerd")),
    )
    return {
        "iptables": [line for line in run("iptables-save").splitlines() if "KUBE" in line],
        "tunables": {name: Path("/proc/sys", name).read_text() for name in tunables},
        "folders": [folder for folder in folders if folder.exists()],
    }


def kill_supervisor(folder: Path) -> None:
    state = read_state(folder)
    assert state is not None
    os.kill(state.supervisor, signal.SIGKILL)


def command(verb: str, folder: Path, **environment: str) -> str:
    words = [sys.executable, "-m", "infra.local.kubernetes", verb, "--folder", str(folder)]
    env = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    return subprocess.run(
        words, capture_output=True, text=True, check=True, env={**env, **environment}, timeout=120
    ).stdout


def run(*words: str) -> str:
    return subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"},
    ).stdout
