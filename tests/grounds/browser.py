"""Debian's Chromium without a window: what a page shows, and which addresses it asked for."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PROGRAM = "chromium"
_QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage"),
    *(
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ),
    *(
        "--disable-default-apps",
        "--disable-extensions",
        "--disable-domain-reliability",
        "--no-pings",
    ),
    "--disable-features=MediaRouter,OptimizationHints,DialMediaRouteProvider",
    # A page's attempt fails at once. It still stands in the log.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@dataclass(frozen=True)
class Page:
    """One opened page."""

    dom: str
    """As the page's scripts left it."""
    asked: tuple[str, ...]
    """Addresses that the page asked for, its own left out."""

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """Those on other hosts."""
        return tuple(url for url in self.asked if urlsplit(url).hostname != "127.0.0.1")


def why_no_browser() -> str:
    """Why no page can be opened, and what to do; empty when one can."""
    return "" if shutil.which(PROGRAM) else f"{PROGRAM} is missing: apt-get install {PROGRAM}"


def open_page(
    url: str, folder: Path, *, enter: Sequence[str] = (), milliseconds: int = 10_000
) -> Page:
    """Open a page in a browser of its own and return what it shows.

    Args:
        url: The page.
        folder: New; for the browser's profile and log.
        enter: The beginning of a command that runs the browser somewhere else.
        milliseconds: Of the page's own clock: how long its scripts may work.
    """
    folder.mkdir(parents=True)
    log = folder / "net.json"
    options = [
        f"--user-data-dir={folder / 'profile'}",
        f"--log-net-log={log}",
        f"--virtual-time-budget={milliseconds}",
    ]
    done = subprocess.run(
        [*enter, PROGRAM, *_QUIET, *options, "--dump-dom", url],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(
            f"{PROGRAM} ended with {done.returncode} on {url}:\n{done.stderr[-3000:]}"
        )
    return Page(
        done.stdout, tuple(sorted(set(asked_by_pages(json.loads(log.read_text(encoding="utf-8"))))))
    )


def asked_by_pages(log: dict[str, Any]) -> Iterator[str]:
    """Yield the addresses that pages asked for; the browser's own requests have no page."""
    for event in log["events"]:
        asked = event.get("params", {})
        is_a_pages = "url" in asked and str(asked.get("initiator", "")).startswith("http")
        if is_a_pages and urlsplit(asked["url"]).scheme in {"http", "https", "ws", "wss"}:
            yield asked["url"]
