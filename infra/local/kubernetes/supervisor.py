"""Starts the cluster, keeps its components running, and ends all of it. One foreground process."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import FrameType

import yaml

from infra.local.kubernetes import control_groups, network
from infra.local.kubernetes.api import Api, ApiRefused
from infra.local.kubernetes.build import crds
from infra.local.kubernetes.certificates import Authority, issue_all
from infra.local.kubernetes.components import (
    FLUX,
    NODE,
    STAGES,
    STORES,
    Component,
    Places,
    identities,
)
from infra.local.kubernetes.configuration import PAUSE_IMAGE, write_all
from infra.local.kubernetes.doctor import plugin_folder
from infra.local.kubernetes.errors import ClusterError, CouldNotStart
from infra.local.kubernetes.image import push_image
from infra.local.kubernetes.probe import answers
from infra.local.kubernetes.room import Room, open_room
from infra.local.kubernetes.state import ComponentState, Phase, State, remove_contents
from infra.local.processes import Program, start, stop_all

_READY_SECONDS = 120
_RESTART_SECONDS = 1.0
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_FLUX_NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "flux-system"}}


class Supervisor:
    """One cluster in `folder`, of the programs in `binaries`."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self._folder, self._binaries = folder, binaries
        self._state = State(os.getpid())
        self._programs: dict[str, tuple[Component, Program]] = {}
        self._room: Room | None = None
        self._is_ending = False

    def run(self) -> int:
        """Start, then watch until SIGTERM. Return the exit code. Nothing of the cluster stays."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        try:
            began = time.monotonic()
            places = self._start()
            self._state.seconds = round(time.monotonic() - began, 1)
            self._say("ready", "every component answers and the node is Ready")
            self._watch(places)
        except (ClusterError, ApiRefused, OSError, subprocess.CalledProcessError) as problem:
            if not self._is_ending:
                self._say("failed", str(problem))
                return 1
        finally:
            self._stop()
        return 0

    def _start(self) -> Places:
        self._say("starting", "namespaces and addresses")
        room = self._room = open_room(self._folder, self._binaries / "pause")
        self._state.room = room.init
        link = network.connect(room.init)
        self._state.network = link.number
        control_groups.create(link.link)
        places = Places.of(self._folder, self._binaries, link, plugin_folder())
        self._write_files(places, link)
        for stage in STAGES:
            if stage is FLUX:
                self._install_flux()
            self._start_stage(stage, places)
            if stage is STORES:
                pause = {"/pause": (self._binaries / "pause").read_bytes()}
                push_image(f"http://{link.node}:5000", PAUSE_IMAGE, pause, ["/pause"])
        self._say("starting", "the node")
        api = Api(self._folder / "kubeconfig")
        self._wait(
            lambda: api.condition(f"/api/v1/nodes/{NODE}", "Ready"),
            "the node is not Ready",
            "kubelet",
        )
        return places

    def _write_files(self, places: Places, link: network.Network) -> None:
        authority = Authority(self._folder / "pki")
        issue_all(authority, identities(link))
        authority.write_signing_key("accounts")
        server = f"https://{link.node}:6443"
        for identity in ("admin", "kubelet", "controller-manager", "scheduler", "proxy"):
            authority.write_kubeconfig(
                self._folder / "pki" / f"{identity}.kubeconfig", identity, server
            )
        authority.write_kubeconfig(self._folder / "kubeconfig", "admin", server)
        (self._folder / "tmp").mkdir(exist_ok=True)
        write_all(places)

    def _start_stage(self, stage: Iterable[Component], places: Places) -> None:
        for component in stage:
            self._programs[component.name] = (component, self._start_one(component, places))
        for component in stage:
            self._say("starting", component.name)
            self._wait(
                self._probe(component, places),
                f"{component.name} does not answer {places.fill(component.probe)}",
                component.name,
            )

    def _start_one(self, component: Component, places: Places) -> Program:
        room = self._opened()
        words = component.words(places)
        command = room.inside(*words) if component.is_inside else words
        environment = {name: places.fill(value) for name, value in component.environment.items()}
        program = start(
            component.name,
            command,
            log=self._log(component.name),
            env={"PATH": _path(), **environment},
        )
        known = self._state.components.get(component.name)
        self._state.components[component.name] = ComponentState(
            program.process.pid, restarts=known.restarts + 1 if known else 0
        )
        return program

    def _install_flux(self) -> None:
        """Apply the definitions and wait until the API server serves them."""
        self._say("starting", "Flux's definitions")
        api = Api(self._folder / "kubeconfig")
        for path in sorted(crds(self._binaries).glob("*.yaml")):
            definition = yaml.safe_load(path.read_text(encoding="utf-8"))
            place = f"{_DEFINITIONS}/{definition['metadata']['name']}"
            api.apply(place, definition)
            self._wait(
                partial(api.condition, place, "Established"),
                f"{path.name} is not served",
                "apiserver",
            )
        api.apply("/api/v1/namespaces/flux-system", _FLUX_NAMESPACE)

    def _watch(self, places: Places) -> None:
        """Restart ended components, unless held. Return when the room is gone or a signal came."""
        while not self._is_ending:
            if not self._opened().program.is_running:
                raise CouldNotStart("the namespaces' first process was ended by somebody else")
            for name, (component, program) in list(self._programs.items()):
                known = self._state.components[name]
                if program.is_running == known.is_running and known.is_running:
                    continue
                known.is_running = program.is_running
                if not (self._folder / "hold" / name).exists():
                    self._programs[name] = (component, self._start_one(component, places))
            self._state.write(self._folder)
            time.sleep(
                _RESTART_SECONDS
            )  # a component that ends at once is not started in a busy loop

    def _wait(self, is_true: Callable[[], bool], complaint: str, name: str) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not is_true():
            program = self._programs[name][1]
            if self._is_ending or not program.is_running or time.monotonic() > deadline:
                raise CouldNotStart(f"{complaint}; the end of {program.log}:\n{program.log_tail()}")
            time.sleep(
                0.1
            )  # the only way to learn of a foreign program's readiness is to ask again

    def _probe(self, component: Component, places: Places) -> Callable[[], bool]:
        room, probe = self._opened(), places.fill(component.probe)
        return lambda: answers(room, probe, Path(places.pki) / "ca.crt")

    def _stop(self) -> None:
        """Kill all at once. The cluster's data is thrown away, so no order is needed."""
        outside = [
            program for component, program in self._programs.values() if not component.is_inside
        ]
        if self._room is not None:
            os.kill(self._room.init, signal.SIGKILL) if self._room.program.is_running else None
            self._room.program.process.wait(20)
            self._room.asking.shutdown()
        stop_all(
            [
                *outside,
                *(program for component, program in self._programs.values() if component.is_inside),
            ],
            grace_seconds=3,
        )
        if self._state.network is not None:
            control_groups.remove(network.Network(self._state.network).link)
        remove_contents(self._folder)

    def _opened(self) -> Room:
        if self._room is None:
            raise CouldNotStart("the namespaces were not opened yet")
        return self._room

    def _log(self, name: str) -> Path:
        return self._folder / "logs" / f"{name}.log"

    def _say(self, phase: Phase, message: str) -> None:
        self._state.phase, self._state.message = phase, message
        self._state.write(self._folder)

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._is_ending = True


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
