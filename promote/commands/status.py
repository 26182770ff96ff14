"""`promote status`: where models stand, without doing anything."""

from __future__ import annotations

from promote import wiring
from promote.commands.promotion_text import paragraph
from promote.commands.terminal import errors_as_exit_codes, print_json
from promote.contract import Promotion, check_model
from promote.loop.lifecycle import decide
from promote.loop.observation import Blind
from promote.loop.observer import Observer
from promote.loop.policy import models_on_main
from promote.loop.standing import promotion_of
from promote.settings import read_settings


@errors_as_exit_codes()
def run(models: list[str] | None, *, as_json: bool) -> None:
    """Print the promotion of each model."""
    parts = wiring.open_parts(read_settings())
    observer = Observer(parts)
    names = models or sorted(models_on_main(parts.forge, parts.forge.head()))
    promotions = [_promotion(observer, check_model(model)) for model in names]
    if as_json:
        print_json([promotion.model_dump(mode="json") for promotion in promotions])
        return
    for promotion in promotions:
        print(paragraph(promotion))


def _promotion(observer: Observer, model: str) -> Promotion:
    look = observer.look(model)
    step = decide(look)
    return promotion_of(look, step, since=look.at if isinstance(look, Blind) else step.since)
