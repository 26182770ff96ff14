"""Which requests of today's callers a challenger would refuse or answer in part. Pure."""

from __future__ import annotations

from retrain.contract import Feature, ModelSchema


def schema_problems(champion: ModelSchema, challenger: ModelSchema) -> tuple[str, ...]:
    """Return one sentence, without its full stop, for each problem.

    >>> before = ModelSchema(features=(), outputs=())
    >>> after = ModelSchema(features=(Feature(name="distance", type="number"),), outputs=())
    >>> schema_problems(before, after)
    ('feature distance is new and required, and callers do not send it yet',)
    """
    before = {feature.name: feature for feature in champion.features}
    after = {feature.name: feature for feature in challenger.features}
    problems = [
        f"feature {name} is gone, and callers who still send it are refused"
        for name in before
        if name not in after
    ]
    for name, feature in after.items():
        if name in before:
            problems.extend(_narrowings(before[name], feature))
        elif feature.required:
            problems.append(f"feature {name} is new and required, and callers do not send it yet")
    answers = {output.name: output for output in challenger.outputs}
    problems.extend(
        f"output {output.name} is gone, and callers still read it"
        for output in champion.outputs
        if output.name not in answers
    )
    problems.extend(
        f"output {output.name} was in {output.unit or 'no unit'} and is in"
        f" {answers[output.name].unit or 'no unit'}"
        for output in champion.outputs
        if output.name in answers and output.unit != answers[output.name].unit
    )
    return tuple(problems)


def _narrowings(before: Feature, after: Feature) -> list[str]:
    """Return why values of a feature that were accepted would be refused."""
    name, problems = before.name, []
    is_widened = (before.type, after.type) == ("integer", "number")
    if before.type != after.type and not is_widened:
        problems.append(f"feature {name} was of type {before.type} and is {after.type}")
    if after.required and not before.required:
        problems.append(f"feature {name} was optional and is required")
    if after.minimum is not None and (before.minimum is None or after.minimum > before.minimum):
        was, now = _limit("minimum", before.minimum), _limit("minimum", after.minimum)
        problems.append(f"feature {name} had {was} and has {now}")
    if after.maximum is not None and (before.maximum is None or after.maximum < before.maximum):
        was, now = _limit("maximum", before.maximum), _limit("maximum", after.maximum)
        problems.append(f"feature {name} had {was} and has {now}")
    return problems


def _limit(which: str, value: float | None) -> str:
    return f"no {which}" if value is None else f"the {which} {value:g}"
