"""One pass of the loop: from the newest commit to the rollouts, the endpoints file and the pages.

Servers start here, so only one thread may call this (see infra/local/processes.py).
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from infra.local.cluster.desired import Unreadable, read_desired
from infra.local.cluster.memory import Memory, write_whole
from infra.local.cluster.rollout import Journal, Rollout, Timing
from infra.local.cluster.server import Server, Starter
from infra.local.cluster.source import Commit
from infra.local.cluster.status import pages


class Controller:
    """All models of one environment."""

    def __init__(
        self,
        *,
        environment: str,
        starter: Starter,
        timing: Timing,
        endpoints: Path,
        folder: Path,
        journal: Journal,
        most_replicas: int = 1,
    ) -> None:
        self._environment, self._starter, self._timing = environment, starter, timing
        self._endpoints, self._journal, self._most_replicas = endpoints, journal, most_replicas
        self._memory = Memory(folder / "served.json")
        self._revision: str | None = None
        self._written: bytes | None = None
        self._problems: dict[str, str] = {}
        self.rollouts: dict[str, Rollout] = {}
        self.pages: dict[str, dict[str, Any]] = pages({}, revision=None, problems={}, now=0.0)

    def step(self, commit: Commit | None, now: float, *, source_problem: str | None = None) -> None:
        """Do what can be done now.

        Args:
            commit: Main as it was last read; None when it never was.
            now: Seconds of a clock that never goes back.
            source_problem: Why main cannot be read at the moment; what runs goes on.
        """
        if commit and commit.revision != self._revision:
            self._take(commit, now)
        for rollout in self.rollouts.values():
            rollout.step(now)
        self.rollouts = {
            model: rollout
            for model, rollout in self.rollouts.items()
            if not (rollout.removed and not rollout.leaving)
        }
        self._write_endpoints()
        self._memory.keep(
            {
                model: rollout.serving.workload
                for model, rollout in self.rollouts.items()
                if rollout.serving and not rollout.removed
            }
        )
        problems = {**self._problems, **({"git": source_problem} if source_problem else {})}
        self.pages = pages(self.rollouts, revision=self._revision, problems=problems, now=now)

    def end_all(self) -> None:
        """Ask every server to end, at once."""
        for server in self._servers():
            server.end()

    def kill_all(self) -> None:
        """End what is left."""
        for server in self._servers():
            server.kill()

    def anything_runs(self) -> bool:
        """True while a server's process is there."""
        return any(server.is_running() for server in self._servers())

    def _take(self, commit: Commit, now: float) -> None:
        self._revision = commit.revision
        try:
            desired = read_desired(commit.tree, environment=self._environment)
        except Unreadable as problem:
            self._problems = {"gitops": str(problem)}
            self._journal(f"{commit.revision[:12]} changes nothing: {problem}")
            return
        self._problems = desired.problems
        for model, sentence in desired.problems.items():
            self._journal(f"{commit.revision[:12]} does not change {model}: {sentence}")
        for model, asked in desired.workloads.items():
            workload = replace(asked, replicas=min(asked.replicas, self._most_replicas))
            if model in self.rollouts:
                self.rollouts[model].want(workload, now)
            else:
                self._journal(f"{workload.name}: git wants v{workload.release.version}")
                self.rollouts[model] = Rollout(
                    workload, self._starter, self._timing, self._journal, changed_at=now
                )
                self.rollouts[model].resume(self._memory.served(model))
        for model in self.rollouts.keys() - desired.workloads.keys() - desired.problems.keys():
            self.rollouts[model].remove(now)

    def _write_endpoints(self) -> None:
        models = {
            model: [{"url": url} for url in rollout.endpoints()]
            for model, rollout in self.rollouts.items()
            if not rollout.removed
        }
        content = json.dumps({"models": models}, indent=1, sort_keys=True).encode() + b"\n"
        if content != self._written:
            write_whole(self._endpoints, content)
            self._written = content

    def _servers(self) -> list[Server]:
        groups = [
            group
            for rollout in self.rollouts.values()
            for group in (rollout.serving, rollout.coming)
            if group
        ]
        leaving = [each.server for rollout in self.rollouts.values() for each in rollout.leaving]
        return [
            replica.server for group in groups for replica in group.replicas if replica.server
        ] + leaving
