"""Starts a real MLflow tracking server with SQLite and artifacts in one folder.

The server sends artifacts over HTTP, so clients need only its URL.
"""

from __future__ import annotations

import sys
from pathlib import Path

from infra.local.processes import DidNotStart, Program, start, wait_until_answers

_ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # half the memory; we run no jobs
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def start_mlflow(folder: Path, port: int, *, artifacts: str = "") -> tuple[Program, str]:
    """Return the server, answering, and its tracking URL.

    Args:
        folder: Holds the database, the artifacts and the log. A later start continues with them.
        port: Of 127.0.0.1, free.
        artifacts: Where the server keeps them, such as `s3://bucket/prefix`; empty: in the folder.

    Raises:
        DidNotStart: It ended, or did not answer in time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    url = f"http://127.0.0.1:{port}"
    server = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    stores = [
        "--backend-store-uri",
        f"sqlite:///{folder.absolute()}/mlflow.db",
        "--artifacts-destination",
        artifacts or str((folder / "artifacts").absolute()),
    ]
    program = start("mlflow", [*server, *stores], log=folder / "mlflow.log", env=_ENVIRONMENT)
    try:
        wait_until_answers(program, f"{url}/health")
    except DidNotStart:
        program.stop()
        raise
    return program, url


if __name__ == "__main__":
    running, address = start_mlflow(Path(sys.argv[1]), int(sys.argv[2]))
    print(f"MLflow answers at {address}; Ctrl-C ends it")
    try:
        running.process.wait()
    except KeyboardInterrupt:
        running.stop()
