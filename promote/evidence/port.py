"""The judge as the loop sees it: the port and its answer. `judging.py` is the real judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from promote.contract import Release, Verdict
from promote.registry.port import ModelVersion
from retrain.spec.model_file import GatePolicy


@dataclass(frozen=True)
class Judged:
    """A verdict, and what the challenger's run keeps of it."""

    verdict: Verdict
    files: Mapping[str, bytes]
    """By name, `verdict.json` among them."""
    figures: Mapping[str, float]
    """By the name of the run's metric."""


class Judge(Protocol):
    """Judges a challenger against the release on main."""

    def __call__(
        self,
        challenger: ModelVersion,
        champion: Release | None,
        policy: GatePolicy,
        *,
        had_release: bool,
    ) -> Judged:
        """Return the verdict. Wrong bytes and wrong rows make it `inconclusive`.

        Args:
            challenger: The version to judge.
            champion: The release on main; None when main has no release.
            policy: Main's.
            had_release: Whether a release of this model ever served.

        Raises:
            promote.errors.Unavailable: Models or rows could not be read now. Try again.
            promote.errors.PromoteError: A person must act first.
        """
