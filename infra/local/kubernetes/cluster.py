"""A cluster for programs: started from nothing and ended, or one that exists already."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from infra.local.kubernetes import control_groups, doctor
from infra.local.kubernetes.build import built_folder, is_built
from infra.local.kubernetes.errors import CouldNotStart, MachineLacks
from infra.local.kubernetes.network import Network, is_linked
from infra.local.kubernetes.source import serve_repository
from infra.local.kubernetes.state import State, is_room, is_supervisor, read_state, remove_contents

_START_SECONDS = 180
_STOP_SECONDS = 30
_ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Cluster:
    """A running cluster of our own, seen from the host."""

    folder: Path
    network: Network
    binaries: Path
    supervisor: subprocess.Popen[bytes] | None = None
    """Our child, when we started it."""

    @property
    def kubeconfig(self) -> Path:
        """Admin's."""
        return self.folder / "kubeconfig"

    @property
    def api_url(self) -> str:
        """The API server; its certificate is signed by `folder/pki/ca.crt`."""
        return f"https://{self.network.node}:6443"

    @property
    def registry_url(self) -> str:
        """The image registry, for pushes from the host."""
        return f"http://{self.network.node}:5000"

    @property
    def registry(self) -> str:
        """The registry as an image's name begins with it."""
        return f"{self.network.node}:5000"

    @property
    def host(self) -> str:
        """The host's address as pods reach it."""
        return self.network.host

    def serve_repository(self, url: str, place: str) -> None:
        """Read GitRepositories that say `url` from `place`: a path, or the local forge's URL."""
        serve_repository(self.folder, url, place)

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl as admin and return what it printed.

        Raises:
            subprocess.CalledProcessError: It refused; `stderr` says why.
        """
        command = [str(self.binaries / "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments]
        env = {
            **os.environ,
            "KUBECACHEDIR": str(self.folder / "tmp" / "kubectl"),
        }  # its own place would be ~/.kube
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, check=True, timeout=120, env=env
        ).stdout

    def hold(self, component: str) -> None:
        """Do not start `component` again when it ends; a test may then kill it for a while."""
        (self.folder / "hold").mkdir(exist_ok=True)
        (self.folder / "hold" / component).touch()

    def release(self, component: str) -> None:
        """Let the supervisor start it again."""
        (self.folder / "hold" / component).unlink(missing_ok=True)

    def kill(self, component: str, number: int = signal.SIGKILL) -> None:
        """Signal a component's whole group. The supervisor starts it again, unless it is held."""
        state = read_state(self.folder)
        if state is not None and component in state.components:
            os.killpg(state.components[component].pid, number)

    def stop(self) -> None:
        """End it and all it left on the host."""
        stop_cluster(self.folder)
        if self.supervisor is not None:
            self.supervisor.wait()


def start_cluster(
    folder: Path, *, detached: bool = False, say: Callable[[str], None] = lambda _line: None
) -> Cluster:
    """Start a cluster and return when its node is Ready and Flux answers.

    Args:
        folder: Holds all files of the cluster, and is emptied first. Not below /run, /var/lib or
            /var/log: the cluster has its own.
        detached: It outlives the caller; otherwise it ends when the calling thread does.
        say: Told what is being started.

    Raises:
        MachineLacks: Go's programs were not built, or root or packages are missing.
        CouldNotStart: A component ended or did not answer in time.
    """
    folder = folder.absolute()
    _check(folder)
    stop_cluster(folder)
    for leftover in ("config", "logs", "var-log", "repositories.json"):
        path = folder / leftover
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "infra.local.kubernetes",
        "supervise",
        "--folder",
        str(folder),
        "--binaries",
        str(built_folder()),
    ]
    bound = [] if detached else ["setpriv", "--pdeathsig", "TERM"]
    with (folder / "supervisor.log").open("wb") as log:
        supervisor = subprocess.Popen(
            [*bound, *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=_ROOT,
        )
    return _wait(folder, supervisor, say)


def running_cluster(folder: Path) -> Cluster | None:
    """Return the cluster that runs in `folder`, if one does."""
    folder = folder.absolute()
    state = read_state(folder)
    if (
        state is None
        or state.network is None
        or state.phase != "ready"
        or not is_supervisor(state.supervisor, folder)
    ):
        return None
    return Cluster(folder, Network(state.network), built_folder())


def stop_cluster(folder: Path) -> bool:
    """End the cluster in `folder`, also one whose supervisor was killed; False when nothing ran.

    Raises:
        CouldNotStart: Something of it will not go.
    """
    folder = folder.absolute()
    state = read_state(folder)
    if state is None:
        return False
    was_running = is_supervisor(state.supervisor, folder)
    if was_running:
        os.kill(state.supervisor, signal.SIGTERM)
        if not _becomes_true(lambda: not is_supervisor(state.supervisor, folder)):
            os.kill(state.supervisor, signal.SIGKILL)
    _remove_rest(state)
    remove_contents(folder)
    (folder / "state.json").unlink(missing_ok=True)
    return was_running


def _remove_rest(state: State) -> None:
    """Wait until the kernel has removed the namespaces' parts, then remove the control group."""
    if state.room is not None and is_room(state.room):
        os.kill(state.room, signal.SIGKILL)  # it should have died with its supervisor
    if state.network is None:
        return
    network = Network(state.network)
    if not _becomes_true(lambda: not is_linked(network)):
        raise CouldNotStart(
            f"the link {network.link} is still there: something lives in the cluster's network"
            " (`lsns -t net`)"
        )
    if not control_groups.remove(network.link):
        raise CouldNotStart(
            f"the control group {network.link} is still there: something lives in it"
        )


def _check(folder: Path) -> None:
    doctor.check_run(folder)
    if any(
        folder.is_relative_to(hidden) for hidden in ("/run", "/var/run", "/var/lib", "/var/log")
    ):
        raise MachineLacks(
            f"{folder} lies where the cluster has folders of its own; choose another"
        )
    if not is_built():
        raise MachineLacks(
            f"the cluster's programs are not in {built_folder()}: make cluster-build"
        )


def _wait(folder: Path, supervisor: subprocess.Popen[bytes], say: Callable[[str], None]) -> Cluster:
    deadline, said = time.monotonic() + _START_SECONDS, ""
    while time.monotonic() < deadline:
        state = read_state(folder)
        if state is not None and state.message != said:
            said = state.message
            say(said)
        if state is not None and state.phase == "ready" and state.network is not None:
            return Cluster(folder, Network(state.network), built_folder(), supervisor)
        if supervisor.poll() is not None:
            reason = (
                state.message
                if state is not None and state.phase == "failed"
                else (folder / "supervisor.log").read_text()[-2000:]
            )
            stop_cluster(folder)
            raise CouldNotStart(reason)
        time.sleep(0.1)  # the supervisor says how far it is by a file
    stop_cluster(folder)
    supervisor.wait()
    raise CouldNotStart(
        f"not ready after {_START_SECONDS} s: {said}; its logs lie in {folder}/logs"
    )


def _becomes_true(is_true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _STOP_SECONDS
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)  # the kernel says nothing when the last process of a namespace is gone
    return True
