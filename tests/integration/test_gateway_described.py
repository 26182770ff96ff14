"""schemathesis sends the gateway what its description allows and forbids.

A real model server stands behind the gateway.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.processes import free_port, start, wait_until_answers
from tests.grounds.model_folders import ABOUT, make_model_folder
from tests.integration.test_gateway import ROOT, Gateway

EXAMPLES = 60
"""Most requests for each operation and phase: a few hundred in all."""
SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"


def schemathesis(url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(SCHEMATHESIS), "run", f"{url}/openapi.json", "--checks", "all", "--no-color"]
    bounds = [
        "--max-examples",
        str(EXAMPLES),
        "--seed",
        "1",
        "--generation-database",
        "none",
        "--request-timeout",
        "10",
    ]
    key = ["--header", "Authorization: Bearer key-1"]
    return subprocess.run(
        [*command, *bounds, *key],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.e2e
def test_the_gateway_answers_as_its_description_says(tmp_path):
    card = make_model_folder(tmp_path / "model", about=ABOUT)
    port = free_port()
    env = {
        "SERVING_MODEL_FOLDER": str(tmp_path / "model"),
        "SERVING_MODEL_DIGEST": card.model_digest,
    }
    env |= {
        "SERVING_VERSION": "8",
        "SERVING_IMAGE_DIGEST": f"sha256:{8:064x}",
        "SERVING_PORT": str(port),
    }
    server = start(
        "server", [sys.executable, "-m", "serving"], log=tmp_path / "server.log", env=env, cwd=ROOT
    )
    gateway = Gateway(tmp_path, DEADLINE_SECONDS="10", MAX_BODY_BYTES="1048576")
    try:
        wait_until_answers(server, f"http://127.0.0.1:{port}/readyz")
        gateway.list(f"http://127.0.0.1:{port}")
        wait_until_answers(gateway.program, gateway.url + "/readyz")
        found = schemathesis(gateway.url, tmp_path)
    finally:
        gateway.program.stop()
        server.stop()
    assert found.returncode == 0, found.stdout[-8000:] + found.stderr[-2000:]
    assert "/v1/models/flight-delay:predict" in found.stdout or "No issues found" in found.stdout
