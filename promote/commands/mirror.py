"""`promote mirror`: a bare mirror of main for Airflow, which has no credential of the forge."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from promote import wiring
from promote.commands.terminal import errors_as_exit_codes, log_to_stderr
from promote.errors import ForgeRefused, ForgeUnavailable
from promote.settings import read_forge_settings

log = logging.getLogger("promote")


@errors_as_exit_codes()
def run(folder: Path, *, once: bool, interval_seconds: float) -> None:
    """Fetch main until the process is ended.

    Args:
        folder: The bare repository. It is made when it is absent.
        once: Fetch once, then end; an outage ends with 75.
        interval_seconds: Between two fetches.
    """
    settings = read_forge_settings()
    log_to_stderr()
    mirror, head, is_away = wiring.open_mirror(settings, folder.absolute()), "", False
    while True:
        try:
            opened = mirror.fetch()
        except (ForgeRefused, ForgeUnavailable) as error:
            if once:
                raise
            if not is_away:
                log.warning("mirror=behind head=%s error=%s", head[:12] or "none", error)
            is_away = True
        else:
            if opened.head != head or is_away:
                log.info("mirror=fetched head=%s", opened.head[:12])
            head, is_away = opened.head, False
        if once:
            return
        time.sleep(interval_seconds)
