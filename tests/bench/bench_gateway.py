"""Gateway and model server over loopback: 64 connections, one row a request.

The callers share the machine's cores with both. Ours: client_api and serving, as shipped. The
baseline (tests/bench/baseline/): FastAPI, httpx, BentoML's batchable API and the same fitted
pipeline, pickled. Each side's programs run alone. The medians of interleaved turns are compared.

The baseline has two speeds. On a busy machine scikit-learn's threads wait for each other, and the
baseline answers about 90 requests a second (87 in docs/facts.md, 92 in one run here: a ratio of
80). On a quiet machine it answers about 350, which is the most that httpx can ask. The committed
figure is from a quiet machine.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from infra.local.processes import Program, free_port, start, wait_until_answers
from retrain.contract import ModelCard

ROOT = Path(__file__).parents[2]
CONNECTIONS = 64
TURNS = 3
WARM_UP_SECONDS, SECONDS = 2, 5
KEY = "bench"
PATH = "/v1/models/flight-delay:predict"


def measure() -> list[dict[str, object]]:
    """Return the one figure: answered requests per second of both sides."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(
            [sys.executable, "-m", "tests.bench.baseline.train", str(folder)], cwd=ROOT, check=True
        )
        sides = {"ours": _ours, "baseline": _baseline}
        turns: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(TURNS):
            for side, serve in sides.items():
                with serve(folder) as port:
                    _load(folder, port, WARM_UP_SECONDS)
                    turns[side].append(_load(folder, port, SECONDS))
    ours, baseline = statistics.median(turns["ours"]), statistics.median(turns["baseline"])
    ratio = round(ours / baseline, 1)
    return [
        {
            "name": "gateway and server, 64 connections, 1 row a request",
            "ratio": ratio,
            "goal": 50,
            "requests_per_second": round(ours),
            "baseline": round(baseline),
        }
    ]


def _load(folder: Path, port: int, seconds: int) -> float:
    command = [
        sys.executable,
        "-m",
        "tests.bench.load",
        "127.0.0.1",
        str(port),
        PATH,
        str(folder / "bodies"),
        KEY,
        str(CONNECTIONS),
        str(seconds),
    ]
    printed = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=120
    ).stdout
    answered = json.loads(printed)
    if set(answered["statuses"]) != {"200"}:
        raise RuntimeError(f"not every request was answered: {answered}")
    return float(answered["requests_per_second"])


@contextmanager
def _ours(folder: Path) -> Iterator[int]:
    card = ModelCard.model_validate_json((folder / "model" / "model.json").read_bytes())
    server_port, port = free_port(), free_port()
    serving = {"FOLDER": str(folder / "model"), "DIGEST": card.model_digest}
    env = {f"SERVING_MODEL_{name}": value for name, value in serving.items()}
    env |= {
        "SERVING_VERSION": "1",
        "SERVING_IMAGE_DIGEST": f"sha256:{'0' * 64}",
        "SERVING_PORT": str(server_port),
    }
    endpoints = folder / "endpoints.json"
    endpoints.write_text(
        json.dumps({"models": {"flight-delay": [{"url": f"http://127.0.0.1:{server_port}"}]}})
    )
    with ExitStack() as running:
        _run(
            running,
            folder,
            "server",
            ["-m", "serving"],
            env,
            f"http://127.0.0.1:{server_port}/readyz",
        )
        gateway = {
            "CLIENT_API_ENDPOINTS": str(endpoints),
            "CLIENT_API_KEYS": KEY,
            "CLIENT_API_PORT": str(port),
        }
        _run(
            running,
            folder,
            "gateway",
            ["-m", "client_api"],
            gateway,
            f"http://127.0.0.1:{port}/readyz",
        )
        yield port


@contextmanager
def _baseline(folder: Path) -> Iterator[int]:
    server_port, port = free_port(), free_port()
    with ExitStack() as running:
        serve = [
            "-m",
            "bentoml",
            "serve",
            "tests.bench.baseline.service:FlightDelay",
            "--host",
            "127.0.0.1",
            "--port",
            str(server_port),
        ]
        env = {"BASELINE_PICKLE": str(folder / "pipeline.pkl"), "BENTOML_DO_NOT_TRACK": "True"}
        _run(
            running, folder, "baseline server", serve, env, f"http://127.0.0.1:{server_port}/readyz"
        )
        asked = [
            "-m",
            "uvicorn",
            "tests.bench.baseline.gateway:app",
            "--port",
            str(port),
            "--no-access-log",
        ]
        env = {"BASELINE_SERVER": f"http://127.0.0.1:{server_port}", "BASELINE_KEY": KEY}
        _run(running, folder, "baseline gateway", asked, env, f"http://127.0.0.1:{port}/readyz")
        yield port


def _run(
    running: ExitStack, folder: Path, name: str, arguments: list[str], env: dict[str, str], url: str
) -> Program:
    program = start(
        name, [sys.executable, *arguments], log=folder / f"{name}.log", env=env, cwd=ROOT
    )
    running.callback(program.stop)
    wait_until_answers(program, url)
    return program
