"""Asks a component whether it is ready."""

from __future__ import annotations

import socket
import ssl
import urllib.error
import urllib.request
from pathlib import Path

from infra.local.kubernetes.room import Room


def answers(room: Room, probe: str, authority: Path) -> bool:
    """True when a URL answers 2xx, or a unix:/socket accepts, seen from inside the room."""
    if probe.startswith("unix:"):
        return _accepts(room.path(probe.removeprefix("unix:")))
    context = (
        ssl.create_default_context(cafile=str(authority)) if probe.startswith("https:") else None
    )
    return room.ask(lambda: _is_fine(probe, context))


def _is_fine(url: str, context: ssl.SSLContext | None) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=3, context=context) as response:
            return 200 <= int(response.status) < 300
    except (urllib.error.URLError, OSError):
        return False


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(3)
        try:
            connection.connect(str(path))
        except OSError:
            return False
    return True
