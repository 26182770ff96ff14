"""`python -m infra.local.kubernetes build|up|down|status`: the cluster's command line."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from infra.local.kubernetes import doctor, existing
from infra.local.kubernetes.build import build, cache_folder, is_built
from infra.local.kubernetes.cluster import running_cluster, start_cluster, stop_cluster
from infra.local.kubernetes.errors import ClusterError
from infra.local.kubernetes.source import run as run_source
from infra.local.kubernetes.state import read_state


def main(arguments: list[str] | None = None) -> int:
    """Do as asked; 1 when it could not be done."""
    options = _options(arguments)
    try:
        code: int = options.act(options)
    except ClusterError as problem:
        print(f"{problem}", file=sys.stderr)
        return 1
    return code


def _build(_options: argparse.Namespace) -> int:
    if not is_built():
        doctor.check_build(cache_folder())
    print(f"the cluster's programs are in {build()}")
    return 0


def _up(options: argparse.Namespace) -> int:
    if foreign := _foreign(options.folder):
        print(existing.describe(foreign))
        return 0
    if (cluster := running_cluster(options.folder)) is None:
        doctor.check_run(options.folder)
        _build(options)
        cluster = start_cluster(
            options.folder, detached=True, say=lambda line: print(f"  {line}", flush=True)
        )
    print(
        f"export KUBECONFIG={cluster.kubeconfig}\nAPI      {cluster.api_url}\nregistry"
        f" {cluster.registry_url}\nhost     {cluster.host} (seen from pods)"
    )
    return 0


def _down(options: argparse.Namespace) -> int:
    if foreign := _foreign(options.folder):
        print(f"KUBECONFIG names {foreign}, which is not ours to end")
        return 0
    print("ended" if stop_cluster(options.folder) else "nothing ran; what it had left is gone")
    return 0


def _status(options: argparse.Namespace) -> int:
    if foreign := _foreign(options.folder):
        print(existing.describe(foreign))
        return 0
    state = read_state(options.folder)
    if state is None:
        print(f"no cluster runs in {options.folder}: make cluster-up")
        return 1
    is_up = running_cluster(options.folder) is not None
    was_killed = state.phase == "ready" and not is_up
    phase = "killed: make cluster-down removes the rest" if was_killed else state.phase
    print(f"{phase} ({state.message}; up after {state.seconds} s)")
    for name, component in state.components.items():
        print(
            f"  {name:21} pid {component.pid:7}  {'runs' if component.is_running else 'ended'} "
            f" restarts {component.restarts}"
        )
    return 0 if is_up else 1


def _supervise(options: argparse.Namespace) -> int:
    from infra.local.kubernetes.supervisor import Supervisor  # noqa: PLC0415 - certificates are slow to import

    return Supervisor(options.folder, options.binaries).run()


def _source(options: argparse.Namespace) -> int:
    run_source(options.folder, options.host, options.port)
    return 0


def _foreign(folder: Path) -> Path | None:
    """Return the kubeconfig of an existing cluster, when KUBECONFIG names one that is not ours."""
    named = os.environ.get("KUBECONFIG")
    return (
        Path(named)
        if named and Path(named).absolute() != folder.absolute() / "kubeconfig"
        else None
    )


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.local.kubernetes", description=__doc__)
    commands = parser.add_subparsers(required=True)
    acts = {
        "build": (_build, "build what is missing into the cache"),
        "up": (_up, "start the cluster, or look at the one KUBECONFIG names"),
        "down": (_down, "end it and all it left"),
        "status": (_status, "what runs"),
        "supervise": (_supervise, "be the cluster's supervisor, in the foreground"),
        "source": (_source, "be the cluster's source-controller"),
    }
    for name, (act, text) in acts.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "--folder",
            type=Path,
            default=cache_folder() / "cluster",
            help="all it writes (default: %(default)s)",
        )
        command.set_defaults(act=act)
        if name == "supervise":
            command.add_argument(
                "--binaries", type=Path, required=True, help="where `build` put them"
            )
        if name == "source":
            command.add_argument("--host", required=True, help="address to serve on")
            command.add_argument("--port", type=int, required=True)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
