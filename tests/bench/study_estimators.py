"""Tries every classifier and regressor of scikit-learn through Ratchet's pipeline and export.

Writes `retrain/spec/exact_estimators.py`, which the model file's check reads, and
`docs/estimators.md`. Takes some minutes:

    python -m tests.bench.study_estimators
"""

from __future__ import annotations

import argparse
import inspect
import multiprocessing
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.utils import all_estimators

from retrain.fitting.training import Fit, Fitted, Ineligible, fit
from retrain.spec.estimators import CHOSEN_BY_RATCHET
from retrain.spec.technique import Technique
from retrain.tasks.table import TASKS
from retrain.tasks.task import EstimatorKind, OutputForm
from tests.grounds.learnable_rows import FEATURES, make_rows

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60
TRAIN_ROWS, HELD_OUT_ROWS = 4_000, 4_000
NEEDED: dict[str, dict[str, Any]] = {
    "SGDClassifier": {"loss": "log_loss"},
    "CalibratedClassifierCV": {"cv": 3},
}
"""Parameters without which an estimator gives no probability."""


@dataclass(frozen=True)
class Tried:
    """What became of one estimator."""

    kind: EstimatorKind
    path: str
    parameters: tuple[str, ...]
    needed: str
    exact: bool
    words: str


def rows(count: int, seed: int) -> pa.Table:
    """Return rows with a label for each kind; the number is positive, as Poisson needs."""
    made = make_rows(count, seed=seed)
    miles = made.column("distance").to_numpy()
    late = made.column("late").to_numpy(zero_copy_only=False)
    noise = np.random.default_rng(seed).gamma(2.0, 5.0, count)
    return made.append_column("delay", pa.array(5 + miles / 100 + 20 * late + noise))


def try_one(kind: EstimatorKind, path: str, needed: dict[str, Any], answer: Any) -> None:
    """Fit in this process, and send what became of it."""
    warnings.simplefilter("ignore")
    task = next(task for task in TASKS.values() if task.estimator_kind == kind)
    label = "late" if kind == "classifier" else "delay"
    technique = Technique.model_construct(estimator=path, params=needed)
    output = task.output(label, OutputForm(name="answer"))
    given = (task.name, label, None, output, rows(TRAIN_ROWS, 0), rows(HELD_OUT_ROWS, 1), 7)
    answer.send(fit(Fit("one", technique, FEATURES, *given)))


def tried(kind: EstimatorKind, name: str, estimator: Any) -> Tried:
    """Return what became of an estimator in a process of its own."""
    public = estimator.__module__.partition("._")[0]
    path, needed = f"{public}.{name}", NEEDED.get(name, {})
    parameters = set(inspect.signature(estimator).parameters) - CHOSEN_BY_RATCHET
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=try_one, args=(kind, path, needed, sender))
    process.start()
    sender.close()
    outcome: Fitted | Ineligible | str
    try:
        outcome = receiver.recv() if receiver.poll(PATIENCE_SECONDS) else "takes too long"
    except EOFError:
        outcome = "its process died"
    process.kill()
    process.join()
    exact = isinstance(outcome, Fitted)
    words = outcome if isinstance(outcome, str) else _words(outcome)
    shown = ", ".join(f"{key}: {value}" for key, value in needed.items())
    return Tried(kind, path, tuple(sorted(parameters)), shown, exact, words)


def _words(outcome: Fitted | Ineligible) -> str:
    if isinstance(outcome, Fitted):
        size = len(outcome.network) / 1e3
        return f"{outcome.largest_difference:.0e}, {size:,.0f} KB, {outcome.seconds:.1f} s"
    first = outcome.reason.splitlines()[0].replace("|", "/")
    return first if len(first) < 110 else f"{first[:109]}…"


def all_tried() -> Iterator[Tried]:
    """Yield every estimator of scikit-learn."""
    kinds: tuple[EstimatorKind, ...] = ("classifier", "regressor")
    for kind in kinds:
        for name, estimator in all_estimators(type_filter=kind):
            one = tried(kind, name, estimator)
            print(f"{'exact' if one.exact else '-':6} {one.path}: {one.words}", flush=True)
            yield one


def module_of(found: list[Tried]) -> str:
    """Return the Python file that the model file's check reads."""
    lines = [
        '"""The estimators whose export is exact, with their parameters. Pure.',
        "",
        "Written by `python -m tests.bench.study_estimators`; docs/estimators.md has its figures.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "from retrain.tasks.task import EstimatorKind",
        "",
        "EXACT: dict[EstimatorKind, dict[str, str]] = {",
    ]
    for kind in ("classifier", "regressor"):
        lines.append(f'    "{kind}": {{')
        for one in found:
            if one.exact and one.kind == kind:
                lines += [f'        "{one.path}": (', *_wrapped(one.parameters), "        ),"]
        lines.append("    },")
    lines += ["}", '"""Parameters are separated by spaces."""', ""]
    return "\n".join(lines)


def _wrapped(words: tuple[str, ...]) -> Iterator[str]:
    line = ""
    for word in words:
        if line and len(line) + len(word) > 80:
            yield f'            "{line} "'
            line = ""
        line += f" {word}" if line else word
    yield f'            "{line}"'


def page_of(found: list[Tried]) -> str:
    """Return docs/estimators.md."""
    counts = {kind: sum(one.exact for one in found if one.kind == kind) for kind in TASK_KINDS}
    head = f"""# Estimators

A technique may name each of these {counts["classifier"]} classifiers and {counts["regressor"]}
regressors of scikit-learn. Their ONNX export was exact on {HELD_OUT_ROWS:,} held-out rows and on
rows with missing, extreme and unknown values. Every fit is checked again: a fit whose export is
not exact does not ship.

`python -m tests.bench.study_estimators` tries all estimators and writes this page, here with
scikit-learn {version("scikit-learn")} and skl2onnx {version("skl2onnx")}. Seeds, early stopping,
processes and `categorical_features` are Ratchet's choice. All other parameters are yours.

"""
    parts = [head]
    for kind in TASK_KINDS:
        parts.append(f"## {kind.capitalize()}s\n\n")
        parts.append("| estimator | needs | largest difference, size, time |\n|---|---|---|\n")
        parts += [
            f"| `{one.path}` | {one.needed} | {one.words} |\n"
            for one in found
            if one.exact and one.kind == kind
        ]
        parts.append("\nNot these:\n\n| estimator | why |\n|---|---|\n")
        parts += [
            f"| `{one.path}` | {one.words} |\n"
            for one in found
            if not one.exact and one.kind == kind
        ]
        parts.append("\n")
    return "".join(parts).rstrip("\n") + "\n"


TASK_KINDS: tuple[EstimatorKind, ...] = ("classifier", "regressor")


def main() -> None:
    """Try all, then write both files."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    found = sorted(all_tried(), key=lambda one: (one.kind, one.path))
    (ROOT / "retrain/spec/exact_estimators.py").write_text(module_of(found), encoding="utf-8")
    (ROOT / "docs/estimators.md").write_text(page_of(found), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
