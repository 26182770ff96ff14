"""TypeScript from the real description: a mobile developer's calls pass tsc --strict."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import httpx2
import pytest

from tests.fakes.upstream import HttpServer, served
from tests.integration.test_gateway import AUTH, Gateway

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "tests" / "typescript"
PROJECT = ROOT / "build" / "typescript"
"""Ignored by git: package.json's programs, installed once."""
NPM = shutil.which("npm")


def run(*command: str, folder: Path = PROJECT) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def install() -> None:
    """Install exactly what package-lock.json names, unless it is there already."""
    lock = (SOURCES / "package-lock.json").read_bytes()
    ready = PROJECT / "installed"
    if ready.exists() and ready.read_bytes() == lock:
        return
    PROJECT.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SOURCES / name, PROJECT)
    run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    ready.write_bytes(lock)


@pytest.mark.e2e
@pytest.mark.skipif(NPM is None, reason="npm is not installed: apt-get install npm")
async def test_calls_and_error_handling_compile_against_the_generated_types(tmp_path):
    install()
    gateway = Gateway(tmp_path)
    try:
        async with (
            httpx2.AsyncClient(
                base_url=gateway.url, headers=AUTH, timeout=10, trust_env=False
            ) as client,
            HttpServer(served(8)) as server,
        ):
            await gateway.follow(client, server)
            (tmp_path / "openapi.json").write_text((await client.get("/openapi.json")).text)
    finally:
        gateway.program.stop()
    shutil.copy(SOURCES / "calls.ts", tmp_path)
    programs = PROJECT / "node_modules" / ".bin"
    run(
        str(programs / "openapi-typescript"),
        "openapi.json",
        "--output",
        "gateway.d.ts",
        folder=tmp_path,
    )
    run(
        str(programs / "tsc"),
        "--noEmit",
        "--strict",
        "--target",
        "es2022",
        "--moduleResolution",
        "bundler",
        "--module",
        "esnext",
        "calls.ts",
        folder=tmp_path,
    )
