"""A real Postgres that stands for RDS: Debian's, over TLS only, its master user no superuser."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from infra.local.kubernetes.certificates import Authority, Identity
from infra.local.processes import DidNotStart, Program, start
from infra.local.stack.web import wait_for

MASTER = "ratchet"
"""As infra/aws/databases.yaml calls it."""
_NOBODY_ROOT = (
    "setpriv",
    "--reuid=postgres",
    "--regid=postgres",
    "--clear-groups",
    "--pdeathsig=INT",
)
_SETTINGS = {
    "ssl": "on",
    "ssl_cert_file": "server.crt",
    "ssl_key_file": "server.key",
    "fsync": "off",
}


def why_no_postgres() -> str:
    """Why there can be none here; empty when there can."""
    if not _programs().name:
        return "Postgres is missing: apt-get install --no-install-recommends postgresql"
    return "" if os.geteuid() == 0 else "only root can start Postgres as its own user"


@contextmanager
def postgres(
    host: str,
    password: str,
    databases: Sequence[str],
    *,
    within: Sequence[str] = (),
    port: int = 5432,
) -> Iterator[None]:
    """Serve databases of MASTER's at an address.

    Args:
        host: The address.
        password: MASTER's.
        databases: Their names.
        within: What runs the server, such as `nsenter` into the network that has this address.
        port: Where the server listens.
    """
    with tempfile.TemporaryDirectory(
        prefix="ratchet-postgres-"
    ) as name:  # pytest's folders let nobody but root through
        folder = Path(name)
        data = folder / "data"
        shutil.chown(folder, "postgres", "postgres")
        assert _run("initdb", "--pgdata", str(data), "--auth=trust", "--username=postgres")
        _certify(data, host)
        (data / "pg_hba.conf").write_text(
            "local all all trust\nhostssl all all all scram-sha-256\n"
        )
        options = [word for setting in _SETTINGS.items() for word in ("-c", "=".join(setting))]
        server = [
            *within,
            *_NOBODY_ROOT,
            str(_programs() / "postgres"),
            "-D",
            str(data),
            "-h",
            host,
            "-p",
            str(port),
            "-k",
            name,
            *options,
        ]
        program = start("postgres", server, log=folder / "postgres.log", cwd=folder)
        try:
            wait_for("Postgres", lambda: _is_ready(program, name, port), timeout_seconds=30)
            assert _run(
                "psql",
                "--host",
                name,
                "--port",
                str(port),
                "--command",
                f"CREATE ROLE {MASTER} LOGIN CREATEROLE CREATEDB PASSWORD '{password}'",
            )
            assert all(
                _run("createdb", "--host", name, "--port", str(port), "--owner", MASTER, database)
                for database in databases
            )
            yield
        finally:
            program.signal(signal.SIGINT)  # SIGTERM would wait for its clients
            program.stop(grace_seconds=20)


def _is_ready(program: Program, folder: str, port: int) -> bool | None:
    if not program.is_running:
        raise DidNotStart(f"Postgres ended:\n{program.log_tail()}")
    return True if _run("pg_isready", "--host", folder, "--port", str(port)) else None


def _programs() -> Path:
    """Debian keeps them out of PATH, in a folder for each version."""
    return max(Path("/usr/lib/postgresql").glob("*/bin/postgres"), default=Path("postgres")).parent


def _run(program: str, *arguments: str) -> bool:
    return (
        subprocess.run(
            [*_NOBODY_ROOT, str(_programs() / program), *arguments], check=False, cwd="/"
        ).returncode
        == 0
    )


def _certify(data: Path, host: str) -> None:
    Authority(data).issue(Identity("server", "postgres", hosts=(host,)))
    for path in (data / "server.crt", data / "server.key"):
        shutil.chown(path, "postgres", "postgres")
