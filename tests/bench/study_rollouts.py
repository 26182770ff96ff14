"""`python -m tests.bench.study_rollouts` measures rollouts and disturbances on a real Kubernetes.

The load is constant and open-loop. Every rollout is a merged pull request. The study needs what
`make e2e-kubernetes` needs and takes about 15 minutes. It replaces its section of RESULTS.md.
The study asserts no goal: tests/e2e does that.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.bench.__main__ import STUDY, machine, write_study
from tests.grounds.kubernetes_ground import why_not
from tests.grounds.kubernetes_loop import MIN_READY_SECONDS, MODEL, Loop
from tests.grounds.kubernetes_story import DISTURBANCES, Story, between, disturb, failed

PER_SECOND = 30


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.study_rollouts", description=__doc__
    )
    parser.add_argument(
        "--rollouts", type=int, default=10, help="merged pull requests (default: %(default)s)"
    )
    rollouts = parser.parse_args().rollouts
    if problem := why_not():
        print(problem, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        story = Story(Loop(Path(folder) / "state"), per_second=PER_SECOND)
        try:
            story.loop.begin()
            story.serve(MODEL)
            rolled = [_roll_out(story, number) for number in range(rollouts)]
            disturbed = [_disturb(story, what) for what in DISTURBANCES]
        finally:
            story.stop()
    write_study(report(rolled, disturbed))
    return 0


def _roll_out(story: Story, number: int) -> dict[str, float]:
    """Merge a pull request and measure its rollout: version 2 first, then rollbacks to and fro."""
    loop = story.loop
    if number == 0:
        loop.retrain(MODEL, 1)
    pull = loop.proposed(MODEL, 2) if number == 0 else loop.roll_back(MODEL)
    version = 1 if number % 2 else 2
    merged = loop.merge(pull)
    loop.wait_until_served(MODEL, version)
    ended = time.monotonic()
    time.sleep(3)  # the phones go on: no old pod may answer any more
    answers = story.asked(MODEL, merged)  # raises when an image answered that never stood on main
    found = {
        "requests": len(answers),
        "failed": len(failed(answers)),
        "first_new": min(answer.asked_at for answer in answers if answer.version == version)
        - merged,
        "last_old": max(
            (answer.asked_at for answer in answers if answer.version not in (None, version)),
            default=merged,
        )
        - merged,
        "end": ended - merged,
        "old_after_end": sum(
            answer.version not in (None, version) for answer in between(answers, ended)
        ),
    }
    print(f"rollout {number + 1}: {found}", file=sys.stderr, flush=True)
    return found


def _disturb(story: Story, what: str) -> dict[str, object]:
    began = time.monotonic()
    disturb(story.loop, what)
    last = story.answers_again(MODEL, began)
    answers = story.asked(MODEL, began)
    statuses = Counter(answer.status for answer in failed(answers))
    found = {
        "what": what,
        "requests": len(answers),
        "failed": sum(statuses.values()),
        "statuses": dict(statuses),
        "last_failure": last,
    }
    print(found, file=sys.stderr, flush=True)
    return found


def report(rolled: list[dict[str, float]], disturbed: list[dict[str, object]]) -> str:
    """The section of RESULTS.md."""

    def spread(name: str) -> str:
        values = sorted(one[name] for one in rolled)
        return f"{values[0]:.1f} to {values[-1]:.1f}, median {statistics.median(values):.1f}"

    def total(name: str) -> int:
        return int(sum(one[name] for one in rolled))

    today = time.strftime("%Y-%m-%d", time.gmtime())
    requests, lost, late = total("requests"), total("failed"), total("old_after_end")
    lines = [
        STUDY,
        "",
        f"`python -m tests.bench.study_rollouts` on {today}: {machine()}.",
        f"{PER_SECOND} requests a second go through gateways in pods, answered or not.",
        f"Two servers have minReadySeconds {MIN_READY_SECONDS}.",
        "Every rollout is a merged pull request.",
        "",
        f"- {len(rolled)} rollouts, {requests} requests: {lost} failed.",
        f"  {late} answers were old after the end.",
        "  Every answer's digest stood on main.",
        f"- seconds from merge to the first new answer: {spread('first_new')}",
        f"- to the last old answer: {spread('last_old')}",
        f"- to the end (alias moved, no old pod left): {spread('end')}",
        "",
        "| disturbance | requests | failed | the last failure, seconds after it |",
        "|---|---:|---:|---:|",
    ]
    for one in disturbed:
        statuses = "".join(
            f", {count} × {status or 'no answer'}" for status, count in one["statuses"].items()
        )
        failures = f"{one['failed']}{statuses} | {one['last_failure']:.1f}"
        lines.append(f"| {one['what']} | {one['requests']} | {failures} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
