"""One model's Deployment: starts the wanted release beside the running one, switches, ends the old.

The switch comes when the new servers stayed ready. `step` does what is possible now and never
waits; the caller hands the time in. When the wanted release changes back, the old one stays.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from infra.local.cluster.desired import Workload
from infra.local.cluster.images import ImageUnusable
from infra.local.cluster.server import GRACE_SECONDS, Server, Starter

UNREADY_PROBES = 3
"""After this many failed probes a server gets no more calls (Kubernetes' failureThreshold)."""


class Journal(Protocol):
    """Where a person reads what happened."""

    def __call__(self, sentence: str) -> None:
        """Write one line."""


@dataclass(frozen=True)
class Timing:
    """How long a rollout waits for what, in seconds."""

    min_ready_seconds: float = 3.0
    deadline_seconds: float = 60.0
    drain_seconds: float = 1.5
    """From the switch to SIGTERM. Longer than the gateway's pause between readings (0.25 s)."""
    backoff_seconds: float = 2.0
    """Between a server's end and its next start; doubled each time, at most 15."""


@dataclass
class Replica:
    """A place for one server: the server in it may crash and be started again."""

    server: Server | None = None
    ready_since: float | None = None
    failed_probes: int = 0
    starts: int = 0
    next_start: float = 0.0
    problem: str = "it said nothing yet"

    def is_ready(self) -> bool:
        """True when it may get calls."""
        return self.ready_since is not None


@dataclass
class Group:
    """The replicas of one release."""

    workload: Workload
    replicas: list[Replica]


@dataclass
class Leaving:
    """A server that gets no new calls."""

    server: Server
    since: float
    ended_at: float | None = None


@dataclass
class Rollout:
    """The state of one model's servers."""

    wanted: Workload
    starter: Starter
    timing: Timing
    journal: Journal
    changed_at: float
    generation: int = 1
    serving: Group | None = None
    coming: Group | None = None
    leaving: list[Leaving] = field(default_factory=list)
    failure: str | None = None
    """Why the wanted release was given up; it is tried on all the same, as Kubernetes does."""
    removed: bool = False

    def want(self, workload: Workload, now: float) -> None:
        """Take another wish from git; the same one changes nothing."""
        if workload == self.wanted and not self.removed:
            return
        self.wanted, self.changed_at, self.failure, self.removed = workload, now, None, False
        self.generation += 1
        self.journal(f"{workload.name}: git wants v{workload.release.version}")

    def resume(self, served: Workload | None) -> None:
        """Bring back what served before this cluster was restarted, beside what git wants now."""
        if served is not None and self.serving is None:
            self.serving = Group(served, [Replica() for _ in range(served.replicas)])

    def remove(self, now: float) -> None:
        """End all servers: the model is no longer in git."""
        if not self.removed:
            self.journal(f"{self.wanted.name}: no longer in git")
            self.removed = True
            self._dismiss(self.coming, now)
            self._dismiss(self.serving, now)
            self.coming = self.serving = None

    def step(self, now: float) -> None:
        """Do what can be done now."""
        self._let_leave(now)
        if self.removed:
            return
        self._choose(now)
        for group in (self.serving, self.coming):
            for replica in group.replicas if group else []:
                self._tend(group.workload, replica, now)  # type: ignore[union-attr]  # the loop is empty without a group
        if self.coming and all(
            self._is_available(replica, now) for replica in self.coming.replicas
        ):
            self._switch(now)
        self._judge(now)

    def endpoints(self) -> list[str]:
        """Where calls may go now."""
        return (
            [
                replica.server.url
                for replica in self.serving.replicas
                if replica.server and replica.is_ready()
            ]
            if self.serving
            else []
        )

    def _choose(self, now: float) -> None:
        """Make `coming` the wanted release, or nothing when it serves already."""
        serves = self.serving is not None and self.serving.workload == self.wanted
        if self.coming and (serves or self.coming.workload != self.wanted):
            self._dismiss(self.coming, now)
            self.coming = None
        if not serves and self.coming is None:
            self.coming = Group(self.wanted, [Replica() for _ in range(self.wanted.replicas)])

    def _tend(self, workload: Workload, replica: Replica, now: float) -> None:
        """Start what does not run, and ask what runs whether it is ready."""
        if replica.server and not replica.server.is_running():
            replica.problem = replica.server.last_words()
            self.journal(f"{workload.name} v{workload.release.version} ended: {replica.problem}")
            replica.server.kill()
            replica.server, replica.ready_since = None, None
            replica.next_start = now + min(
                15.0, self.timing.backoff_seconds * 2 ** (replica.starts - 1)
            )
        if replica.server is None:
            if now >= replica.next_start:
                self._start(workload, replica, now)
            return
        if replica.server.is_ready():
            replica.failed_probes, replica.ready_since = 0, replica.ready_since or now
            replica.starts = 1 if self._is_available(replica, now) else replica.starts
            return
        replica.failed_probes += 1
        replica.problem = (
            replica.server.last_words() or replica.problem
        )  # what the one before it said, until this one says something
        if replica.failed_probes >= UNREADY_PROBES or self._is_coming(workload):
            replica.ready_since = None

    def _start(self, workload: Workload, replica: Replica, now: float) -> None:
        replica.starts += 1
        replica.failed_probes = 0
        try:
            replica.server = self.starter.start(workload)
            self.journal(
                f"{workload.name} v{workload.release.version} starts on {replica.server.url}"
            )
        except (ImageUnusable, OSError) as problem:
            replica.problem = str(problem)
            replica.next_start = now + min(
                15.0, self.timing.backoff_seconds * 2 ** (replica.starts - 1)
            )
            self.journal(f"{workload.name} v{workload.release.version} cannot start: {problem}")

    def _is_coming(self, workload: Workload) -> bool:
        return self.coming is not None and self.coming.workload is workload

    def _is_available(self, replica: Replica, now: float) -> bool:
        return (
            replica.ready_since is not None
            and now - replica.ready_since >= self.timing.min_ready_seconds
        )

    def _switch(self, now: float) -> None:
        old, self.serving, self.coming, self.failure = self.serving, self.coming, None, None
        self._dismiss(old, now)
        self.journal(f"{self.wanted.name}: v{self.wanted.release.version} serves")

    def _dismiss(self, group: Group | None, now: float) -> None:
        self.leaving += [
            Leaving(replica.server, now)
            for replica in (group.replicas if group else [])
            if replica.server
        ]

    def _let_leave(self, now: float) -> None:
        for leaving in self.leaving:
            if leaving.ended_at is None and now - leaving.since >= self.timing.drain_seconds:
                leaving.ended_at = now
                leaving.server.end()
            if leaving.ended_at is not None and now - leaving.ended_at >= GRACE_SECONDS:
                leaving.server.kill()
        for leaving in [each for each in self.leaving if not each.server.is_running()]:
            leaving.server.kill()
            self.leaving.remove(leaving)

    def _judge(self, now: float) -> None:
        if (
            self.coming
            and self.failure is None
            and now - self.changed_at >= self.timing.deadline_seconds
        ):
            problem = next(
                replica.problem
                for replica in self.coming.replicas
                if not self._is_available(replica, now)
            )
            release = f"{self.wanted.name} v{self.wanted.release.version}"
            within = f"{self.timing.deadline_seconds:.0f} s"
            self.failure = f"{release} was not ready within {within}: {problem}"
            self.journal(self.failure)
