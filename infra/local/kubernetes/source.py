"""In place of Flux's source-controller: packs each GitRepository's branch and writes its status.

Production has the real one and the same object. `repositories.json` may map an object's URL to
another place (`{"https://github.com/acme/ratchet": "http://127.0.0.1:…/acme/ratchet.git"}`). The
file is read each time.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from infra.local.kubernetes.api import Api, ApiRefused
from infra.local.kubernetes.archive import Clone, GitUnavailable

_LIST = "/apis/source.toolkit.fluxcd.io/v1/gitrepositories"
_KEPT_ARTIFACTS = 3
_log = logging.getLogger(__name__)


class Source:
    """Brings every GitRepository's status up to date, one look at a time."""

    def __init__(
        self,
        api: Api,
        folder: Path,
        public_url: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api, self._folder, self._public_url, self._now = api, folder, public_url, now
        self.artifacts = folder / "artifacts"
        self.artifacts.mkdir(parents=True, exist_ok=True)

    def look(self) -> None:
        """Look once at every object that is not suspended.

        Raises:
            ApiRefused: The API server is away.
        """
        for repository in self._api.get(_LIST)["items"]:
            if not repository["spec"].get("suspend", False):
                self._bring_up_to_date(repository)

    def _bring_up_to_date(self, repository: dict[str, Any]) -> None:
        known = repository.get("status", {})
        status = self._status(repository)
        if any(
            known.get(name) != value for name, value in status.items() if name != "conditions"
        ) or _verdict(known) != _verdict(status):
            metadata = repository["metadata"]
            namespace = f"/apis/source.toolkit.fluxcd.io/v1/namespaces/{metadata['namespace']}"
            path = f"{namespace}/gitrepositories/{metadata['name']}/status"
            self._api.merge(path, {"status": status})
            _log.info(
                "%s/%s: %s",
                metadata["namespace"],
                metadata["name"],
                status["conditions"][0]["message"],
            )

    def _status(self, repository: dict[str, Any]) -> dict[str, Any]:
        """Return the object's status after one look; an artifact stays when git is away."""
        metadata = repository["metadata"]
        status: dict[str, Any] = {"observedGeneration": metadata["generation"]}
        if asked := metadata.get("annotations", {}).get("reconcile.fluxcd.io/requestedAt"):
            status["lastHandledReconcileAt"] = asked
        try:
            artifact = self._artifact(repository)
        except GitUnavailable as problem:
            return {
                **status,
                "conditions": [
                    self._condition(
                        "False", "GitOperationFailed", str(problem), metadata["generation"]
                    )
                ],
            }
        message = f"stored artifact for revision '{artifact['revision']}'"
        return {
            **status,
            "artifact": artifact,
            "conditions": [self._condition("True", "Succeeded", message, metadata["generation"])],
        }

    def _artifact(self, repository: dict[str, Any]) -> dict[str, Any]:
        spec, metadata = repository["spec"], repository["metadata"]
        branch = spec.get("ref", {}).get("branch", "master")  # Flux's default
        clone = Clone(
            self._folder / "clones" / hashlib.sha256(spec["url"].encode()).hexdigest()[:16],
            self._place(spec["url"]),
        )
        commit = clone.fetch(branch)
        ignore = spec.get("ignore", "")
        name = f"{commit}-{hashlib.sha256(ignore.encode()).hexdigest()[:8]}.tar.gz"
        path = f"gitrepository/{metadata['namespace']}/{metadata['name']}/{name}"
        packed = self.artifacts / path
        if not packed.exists():
            _write(packed, clone.archive(commit, ignore))
        known = repository.get("status", {}).get("artifact", {})
        digest = f"sha256:{hashlib.sha256(packed.read_bytes()).hexdigest()}"
        artifact = {
            "path": path,
            "url": f"{self._public_url}/{path}",
            "revision": f"{branch}@sha1:{commit}",
            "digest": digest,
            "size": packed.stat().st_size,
        }
        is_known = all(known.get(key) == value for key, value in artifact.items())
        return {
            **artifact,
            "lastUpdateTime": known["lastUpdateTime"] if is_known else self._timestamp(),
        }

    def _place(self, url: str) -> str:
        places: dict[str, str] = {}
        with contextlib.suppress(FileNotFoundError):
            places = json.loads(
                (self._folder.parent / "repositories.json").read_text(encoding="utf-8")
            )
        return places.get(url, url)

    def _condition(self, status: str, reason: str, message: str, generation: int) -> dict[str, Any]:
        written = {"lastTransitionTime": self._timestamp(), "observedGeneration": generation}
        return {"type": "Ready", "status": status, "reason": reason, "message": message, **written}

    def _timestamp(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%SZ")


def serve_repository(folder: Path, url: str, place: str) -> None:
    """From now on read a GitRepository with `url` from `place`. `folder` is the cluster's."""
    path = folder / "repositories.json"
    places = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({**places, url: place}), encoding="utf-8")
    partial.rename(path)


def run(folder: Path, host: str, port: int, *, interval_seconds: float = 1.0) -> None:
    """Serve and look until the process ends."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    source = Source(Api(folder / "kubeconfig"), folder / "source", f"http://{host}:{port}")
    server = ThreadingHTTPServer(
        (host, port), functools.partial(_Files, directory=str(source.artifacts))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while True:
        try:
            source.look()
        except ApiRefused as problem:
            _log.warning("%s", problem)
        time.sleep(interval_seconds)  # as the real one: a branch is looked at every interval


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        """Say nothing of what went well."""


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(content)
    partial.rename(path)
    artifacts = sorted(path.parent.glob("*.tar.gz"), key=lambda artifact: artifact.stat().st_mtime)
    for old in artifacts[:-_KEPT_ARTIFACTS]:
        old.unlink()


def _verdict(status: dict[str, Any]) -> tuple[object, ...]:
    """Return what of a status' condition counts: not when it was written."""
    return tuple(
        (condition["status"], condition["reason"], condition["message"])
        for condition in status.get("conditions", [])
    )
