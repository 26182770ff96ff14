"""Addresses of MLflow's pages, for people.

Each address ends with MODEL_TRAINING: without it MLflow 3.17 opens its pages for language models.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

MODEL_TRAINING = "workflowType=machine_learning"


def run_page(root: str, experiment: str, page: str) -> str:
    """Return the page of a run, or of a file of a run: `<run>/artifacts/<path>`.

    >>> run_page("http://mlflow.example", "1", "abc")
    'http://mlflow.example/#/experiments/1/runs/abc?workflowType=machine_learning'
    """
    return f"{root}/#/experiments/{experiment}/runs/{page}?{MODEL_TRAINING}"


def comparison_page(root: str, experiments: Sequence[str], run_ids: Sequence[str]) -> str:
    """Return the page that shows runs side by side."""
    query = f"runs={_list(run_ids)}&experiments={_list(experiments)}&{MODEL_TRAINING}"
    return f"{root}/#/compare-runs?{query}"


def _list(names: Sequence[str]) -> str:
    return quote(json.dumps(list(names), separators=(",", ":")), safe="")
