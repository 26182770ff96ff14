"""One model's promotion: the state that a look shows, and the one next act. Pure.

States are functions. They are tried in order; the first that returns a step counts. The states of
ways back need the forge only, so they are also tried while MLflow, the image registry or the
cluster is away.
"""

from __future__ import annotations

from dataclasses import replace

from promote.errors import Unavailable
from promote.loop import states_of_challengers, states_of_proposals, states_of_rollouts
from promote.loop.observation import Blind, ForgeView, Look, Observation
from promote.loop.states_of_rollouts import first_failed
from promote.loop.states_of_ways_back import failed, return_ungated
from promote.loop.step import Step, numbers

STATES = (
    *states_of_rollouts.STATES,
    *states_of_proposals.STATES,
    *states_of_challengers.STATES,
)


def decide(look: Look) -> Step:
    """Return what to do next."""
    view: ForgeView | None = look.forge if isinstance(look, Blind) else look
    way_back = view and (return_ungated(view) or failed(view, look.rollout))
    if way_back:
        return way_back
    if isinstance(look, Blind):
        return blind(look)
    return _unfinished(look, next(step for state in STATES if (step := state(look))))


def blind(look: Blind) -> Step:
    """A part did not answer. A refusal or a fault beside an outage needs a person."""
    is_outage = all(isinstance(failure, Unavailable) for failure in look.failures)
    reason = " ".join(str(failure) for failure in look.failures)
    return Step("blind", "wait", "outage" if is_outage else "person", reason)


def _unfinished(observation: Observation, step: Step) -> Step:
    """Nothing is reported as done while a release has failed or a pull request is open."""
    if step.waits_for is not None:
        return step
    if held := first_failed(observation):
        return held
    if not observation.open:
        return step
    reason = f"{step.reason} {numbers(observation.open)} waits for a review."
    return replace(step, waits_for="reviewer", reason=reason)
