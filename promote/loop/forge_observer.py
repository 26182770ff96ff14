"""One look at the forge alone: main, history, pull requests. That is enough for ways back."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import replace

from promote.contract import Slot
from promote.forge.port import Forge, PullRequest, Status, blob_id
from promote.loop.observation import ForgeView, ProposedPull
from promote.release.history import History
from promote.release.history_reader import HistoryReader
from promote.release.slot import branch_prefix, parse_branch, release_path

GATE_CONTEXT = "ratchet/gate"


class ForgeObserver:
    """Looks at the forge alone; remembers only what cannot change."""

    def __init__(
        self, forge: Forge, environment: str, memory: MutableMapping[str, Status] | None = None
    ) -> None:
        """Keep what to ask, and where final statuses are kept by `context commit`."""
        self._forge, self._environment = forge, environment
        self._memory = {} if memory is None else memory
        self._history = HistoryReader(forge, environment, self._memory)

    def look(self, model: str, *, is_complete: bool = False) -> ForgeView:
        """Return what the forge says of a model: main, history, pull requests.

        `is_complete` reads all statuses of the history, for a person's way back.

        Ways back are examined. Only `Observer` can tell whether a promotion is as proposed.

        Raises:
            PromoteError: The forge did not answer, or refused.
        """
        # Pull requests before main: one merged in between then appears as open and as released.
        pulls = self._forge.pull_requests(branch_prefix(Slot(model, self._environment)))
        main = self._forge.head()
        is_complete = is_complete or any(self._is_open_return(model, pull) for pull in pulls)
        history = self._history.read(model, main, is_complete=is_complete)
        proposed = (self._pull(model, pull, main, history) for pull in pulls)
        ours = tuple(one for one in proposed if one is not None)
        return ForgeView(model, self._environment, main, history, ours)

    def gate(self, pull: PullRequest) -> str | None:
        """Return the state of a head's status `ratchet/gate`."""
        key = f"{GATE_CONTEXT} {pull.head}"
        if pull.state == "merged" and key in self._memory:
            return self._memory[key].state
        statuses = {status.context: status for status in self._forge.statuses(pull.head)}
        gate = statuses.get(GATE_CONTEXT)
        if gate and pull.state == "merged":
            self._memory[key] = gate
        return gate.state if gate else None

    def _is_open_return(self, model: str, pull: PullRequest) -> bool:
        branch = parse_branch(pull.branch, Slot(model, self._environment))
        return branch is not None and ProposedPull(pull, branch).is_return and pull.state == "open"

    def changes_exactly(self, head: str, main: str, files: Mapping[str, bytes]) -> bool:
        """Return whether merging a commit changes exactly these files to these bytes."""
        difference = self._forge.difference(main, head)
        proposed = {path: blob_id(content) for path, content in files.items()}
        return dict(difference.files) == proposed

    def _pull(
        self, model: str, pull: PullRequest, main: str, history: History
    ) -> ProposedPull | None:
        branch = parse_branch(pull.branch, Slot(model, self._environment))
        if branch is None:
            return None  # a person's branch under our prefix: not ours to touch
        proposed = ProposedPull(pull, branch)
        if not proposed.is_open:
            return proposed
        gate = self.gate(pull)
        if not proposed.is_return:
            return replace(proposed, gate=gate)
        return replace(
            proposed, gate=gate, as_proposed=self._goes_back(model, proposed, main, history)
        )

    def _goes_back(self, model: str, proposed: ProposedPull, main: str, history: History) -> bool:
        """True when the head has the bytes that served as the version of its branch."""
        path = release_path(Slot(model, self._environment))
        content = self._forge.read_file(path, proposed.pull.head)
        served = any(
            one.served
            and one.content == content
            and one.release is not None
            and one.release.version == proposed.branch.version
            for one in history
        )
        if content is None or not served:
            return False
        return self.changes_exactly(proposed.pull.head, main, {path: content})
