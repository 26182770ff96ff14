"""The parts of one gateway that its routes share."""

from __future__ import annotations

from dataclasses import dataclass

from client_api.auth import Keyring
from client_api.measures import Measures
from client_api.servers.lanes import Lanes
from client_api.settings import Settings


@dataclass
class Gateway:
    """One gateway. `is_draining` becomes true on SIGTERM and stays true."""

    settings: Settings
    keyring: Keyring
    lanes: Lanes
    measures: Measures
    is_draining: bool = False
