"""The few calls on our own cluster's API that its supervisor and its source need."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

_FIELD_MANAGER = "ratchet-cluster"


class ApiRefused(Exception):
    """The API server said no, or did not answer."""


class Api:
    """A kubeconfig of certificates.py, as the one it was written for."""

    def __init__(self, kubeconfig: Path) -> None:
        content = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
        self.url: str = cluster["server"]
        self._context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self._context.load_cert_chain(user["client-certificate"], user["client-key"])

    def get(self, path: str) -> dict[str, Any]:
        """Return an object or a list.

        Raises:
            ApiRefused: Anything but 2xx.
        """
        return self._call("GET", path)

    def apply(self, path: str, content: dict[str, Any]) -> dict[str, Any]:
        """Create the object or make its fields these: server-side apply."""
        return self._call(
            "PATCH",
            f"{path}?fieldManager={_FIELD_MANAGER}&force=true",
            content,
            "application/apply-patch+yaml",
        )

    def merge(self, path: str, content: dict[str, Any]) -> dict[str, Any]:
        """Merge `content` into the object."""
        return self._call(
            "PATCH",
            f"{path}?fieldManager={_FIELD_MANAGER}",
            content,
            "application/merge-patch+json",
        )

    def delete(self, path: str) -> dict[str, Any]:
        """Delete the object."""
        return self._call("DELETE", path)

    def condition(self, path: str, kind: str) -> bool:
        """True when the object is there and this condition of it is True."""
        try:
            conditions = self.get(path).get("status", {}).get("conditions") or []
        except ApiRefused:
            return False
        return any(
            condition["type"] == kind and condition["status"] == "True" for condition in conditions
        )

    def _call(
        self,
        method: str,
        path: str,
        content: dict[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(
            f"{self.url}{path}", data=body, method=method, headers={"Content-Type": content_type}
        )
        try:
            with urllib.request.urlopen(request, timeout=10, context=self._context) as response:
                answer: dict[str, Any] = json.load(response)
                return answer
        except urllib.error.HTTPError as refused:
            raise ApiRefused(
                f"{method} {path}: {refused.code} {refused.read().decode(errors='replace')[:500]}"
            ) from refused
        except OSError as problem:
            raise ApiRefused(f"{method} {self.url}{path}: {problem}") from problem
