"""What a person does at the forge: looks at a pull request, approves and merges it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from infra.local.stack.memory import Memory
from infra.local.stack.web import fetch, press_button, wait_for

REPOSITORY = "acme/ratchet"
GATE = "ratchet/gate"


@dataclass
class Reviewer:
    """The forge's address and token; the token lies in `folder`."""

    folder: Path
    forge_url: str = ""

    @cached_property
    def memory(self) -> Memory:
        """What a later start uses again."""
        return Memory(self.folder / "memory.json")

    @cached_property
    def token(self) -> str:
        """The bot's token of the forge."""
        return self.memory.secret("token")

    def wait_for_gate(self, pull: dict[str, Any]) -> None:
        """Wait until the newest commit of a pull request has the gate's status."""
        path = f"/commits/{pull['head']['sha']}/status"

        def gate() -> bool | None:
            statuses = self.forge_api("GET", path)["statuses"]
            states = {status["context"]: status["state"] for status in statuses}
            return True if states.get(GATE) == "success" else None

        wait_for(f"status {GATE} of pull request {pull['number']}", gate, timeout_seconds=60)

    def merge(self, pull: dict[str, Any], method: str) -> None:
        """Approve and merge on the pull request's page, as a person does.

        Raises:
            Refused: The forge's ruleset forbids the merge.
        """
        self.wait_for_gate(pull)
        press_button(pull["html_url"], act="approve", sha=pull["head"]["sha"])
        press_button(pull["html_url"], act=method, sha=pull["head"]["sha"])

    def forge_api(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Call the forge's REST API with promote's token."""
        return fetch(
            method,
            f"{self.forge_url}/api/v3/repos/{REPOSITORY}{path}",
            body,
            {"Authorization": f"token {self.token}"},
        )
