"""The title and the body of promote's pull requests, for a reviewer who has two minutes. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from promote.contract import Release, Verdict
from promote.gate.words import difference, explanation

_MOST_LINES = 78


def title(verdict: Verdict) -> str:
    """Return a title such as `flight-delay v8: log loss improves by 0.013 [0.006, 0.019]`."""
    figure = difference(verdict.comparisons[0]) if verdict.comparisons else "without figures"
    return f"{verdict.model} v{verdict.challenger}: {figure}"


def body(
    verdict: Verdict,
    *,
    owner: str,
    recipe: str,
    commits: str,
    links: Sequence[tuple[str, str]],
    release: Release,
) -> str:
    """Return a promotion's body, under 80 lines; a long table loses its last rows.

    Args:
        verdict: The gate's.
        owner: The team or person to ask for a review, as `@team`.
        recipe: What changed in the recipe since the champion, as a sentence.
        commits: Which commit was trained and which judged, as a sentence.
        links: Pages for the reviewer, as (label, URL).
        release: What a merge would release.
    """
    model, version = verdict.model, f"v{verdict.challenger}"
    undo = f'`promote rollback {model} --reason "…"`, or revert the commit.'
    tail = [
        "",
        f"- **Recipe**: {recipe}",
        f"- **Commits**: {commits}",
        "- **Pages**: " + " · ".join(f"[{label}]({url})" for label, url in links),
        f"- **Ships**: `{release.image}` · verdict `{release.verdict_digest}`",
        f"- **Undo** after the merge: {undo}",
        "",
        f"{owner}, please review. A merge releases {version}; promote itself never merges. "
        f"Close this pull request to reject {version}: promote does not propose it again.",
    ]
    lines = explanation(verdict).rstrip().splitlines()
    room = _MOST_LINES - len(tail)
    if len(lines) > room:
        more = len(lines) - room + 2
        rest = f"… {more} more lines: `promote explain {model} {verdict.challenger}`"
        lines = [*lines[: room - 2], "", rest]
    return "\n".join([*lines, *tail]) + "\n"


def rollback_body(*, model: str, now: int | None, to: Release, reason: str, served: str) -> str:
    """Return the body of a rollback or a revert.

    Args:
        model: Its name.
        now: The version that main releases; None when main has no readable release.
        to: The earlier release.
        reason: Of the person who asked, or of the failed rollout.
        served: When `to` was last seen healthy, as `at 2026-01-05T06:00:00Z`.
    """
    left = f"version {now}" if now else "the unreadable release on main"
    return (
        f"This releases version {to.version} of {model} again, instead of {left}. "
        f"Version {to.version} was last seen healthy {served}.\n\n"
        f"- **Reason**: {reason}\n"
        f"- **Ships**: `{to.image}`, the same bytes as before\n\n"
        "A merge rolls it out. The version that is left is not proposed again.\n"
    )
