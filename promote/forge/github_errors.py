"""What PyGithub's errors mean to promote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import github
import requests

from promote.errors import ForgeRefused, ForgeUnavailable, PromoteError


@contextmanager
def translated_errors(asked: str) -> Iterator[None]:
    """Raise PyGithub's errors as promote's.

    Args:
        asked: The beginning of each message: which forge was asked, and for what.
    """
    try:
        yield
    except PromoteError:
        raise
    except github.RateLimitExceededException as error:
        raise ForgeUnavailable(
            f"{asked}: the rate limit is used up. Promote asks again later."
        ) from error
    except github.GithubException as error:
        raise _translated(asked, error) from error
    except requests.exceptions.RequestException as error:
        raise ForgeUnavailable(
            f"{asked}: no answer ({error}). Is it running, and is PROMOTE_FORGE_URL right?"
        ) from error
    except Exception as error:  # PyGithub raises anything on an answer of another shape
        raise ForgeUnavailable(
            f"{asked}: the answer is not one of GitHub's ({type(error).__name__}). "
            "Promote asks again later. "
            "Is PROMOTE_FORGE_URL the REST root, and does a proxy answer in its place?"
        ) from error


def _translated(asked: str, error: github.GithubException) -> ForgeRefused | ForgeUnavailable:
    said = error.data.get("message", "") if isinstance(error.data, dict) else str(error.data)
    details = error.data.get("errors") if isinstance(error.data, dict) else None
    found = f"{asked}: it answered {error.status} {said}{f' {details}' if details else ''}"
    if error.status >= 500 or error.status == 429:
        return ForgeUnavailable(f"{found}. Promote asks again later.")
    if error.status in {401, 403}:
        return ForgeRefused(
            f"{found}. Give PROMOTE_FORGE_TOKEN a token that may read and write contents, "
            "pull requests, issues and commit statuses."
        )
    if error.status == 404:
        return ForgeRefused(
            f"{found}. Either it does not exist, or the token may not see it: "
            "check PROMOTE_REPOSITORY, PROMOTE_BRANCH and PROMOTE_FORGE_TOKEN."
        )
    return ForgeRefused(f"{found}.")
