"""Asks the running promotion service where models stand."""

from __future__ import annotations

import httpx2
from pydantic import TypeAdapter, ValidationError

from promote.contract import Promotion
from promote.errors import PromoteServiceUnavailable, UnknownModel

_PROMOTIONS = TypeAdapter(list[Promotion])


def ask_promotions(
    url: str, models: list[str] | None, *, timeout_seconds: float
) -> list[Promotion]:
    """Return where models stand, as the service at `url` saw them last, sorted by name.

    Args:
        url: The root of the service (PROMOTE_URL).
        models: Only these; all if None or empty.
        timeout_seconds: The longest wait for the answer.

    Raises:
        PromoteServiceUnavailable: The service did not answer, or not as promote does.
        UnknownModel: The service has not looked at one of the models.
    """
    asked = f"Asked the promotion service at {url} for /promotions"
    try:
        answer = httpx2.get(f"{url}/promotions", timeout=timeout_seconds).raise_for_status()
        promotions = {one.model: one for one in _PROMOTIONS.validate_json(answer.content)}
    except (httpx2.HTTPError, ValidationError) as error:
        raise PromoteServiceUnavailable(
            f"{asked}: {type(error).__name__}. Is the service running, and is PROMOTE_URL right? "
            "Without PROMOTE_URL, `promote status` looks itself."
        ) from error
    missing = sorted(set(models or ()) - set(promotions))
    if missing:
        raise UnknownModel(
            f"{asked}: the service has not looked at {', '.join(missing)}. "
            "POST /nudge/<model> makes the service look."
        )
    return [promotions[name] for name in models or sorted(promotions)]
