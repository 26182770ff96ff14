"""`promote status`: where models stand, without doing anything."""

from __future__ import annotations

from promote import wiring
from promote.commands.promotion_text import paragraph
from promote.commands.terminal import errors_as_exit_codes, print_result
from promote.contract import Promotion, check_model
from promote.loop.lifecycle import decide
from promote.loop.observation import Blind
from promote.loop.observer import Observer
from promote.loop.standing import promotion_of
from promote.settings import read_settings
from promote.web.client import ask_promotions


@errors_as_exit_codes()
def run(models: list[str] | None, *, as_json: bool) -> None:
    """Print the promotion of each model."""
    settings = read_settings()
    asked = [check_model(model) for model in models or ()]
    promotions = (
        ask_promotions(settings.url, asked, timeout_seconds=settings.request_timeout_seconds)
        if settings.url
        else _look(Observer(wiring.open_parts(settings)), asked)
    )
    if promotions or as_json:
        facts = [promotion.model_dump(mode="json") for promotion in promotions]
        print_result(facts, "\n".join(map(paragraph, promotions)), as_json=as_json)


def _look(observer: Observer, models: list[str]) -> list[Promotion]:
    names = observer.start_pass(models)
    promotions = [_promotion(observer, model) for model in models or names]
    observer.end_pass()
    return promotions


def _promotion(observer: Observer, model: str) -> Promotion:
    look = observer.look(model)
    step = decide(look)
    return promotion_of(look, step, since=look.at if isinstance(look, Blind) else step.since)
