"""Mistakes between a model file and its task: output, metrics, churn. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from retrain.comparison.metrics import METRICS, metric_named
from retrain.spec.estimators import ESTIMATORS
from retrain.spec.yaml_lines import Place
from retrain.tasks.task import OutputForm, Task


def mistakes_of_task(
    task: Task,
    output: OutputForm | None,
    *,
    metric: str,
    guardrails: Iterable[str],
    churn: tuple[float, str | None] | None,
    estimators: Mapping[str, str],
) -> Iterator[tuple[Place, str]]:
    """Yield the place and the sentence of each mistake.

    Args:
        task: The model's.
        output: As the model file has it, like all that follows.
        metric: The gate's.
        guardrails: Names of metrics.
        churn: An amount and its unit.
        estimators: By the name of the technique.
    """
    if problem := task.problem_with_output(output):
        yield ("output",), f"`output` {problem}"
    problem = task.problem_with_churn(churn[1], output) if churn else None
    if problem:
        yield ("gate", "churn"), f"`gate.churn` {problem}"
    fitting = [name for name, one in METRICS.items() if one.takes in task.takes]
    places: list[tuple[Place, str]] = [(("gate", "metric"), metric)]
    places += [(("gate", "guardrails", name), name) for name in guardrails]
    for place, name in places:
        if metric_named(name).takes not in task.takes:
            field = ".".join(map(str, place))
            yield (
                place,
                f"`{field}` cannot be `{name}`: {task.name} has {', '.join(fitting)}",
            )
    for technique, estimator in estimators.items():
        kind = ESTIMATORS[estimator]
        if kind != task.estimator_kind:
            yield (
                ("techniques", technique, "estimator"),
                f"`techniques.{technique}.estimator` is a {kind}, and {task.name} needs a"
                f" {task.estimator_kind}",
            )
