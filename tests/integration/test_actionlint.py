"""The real actionlint: it refuses a workflow with a mistake. `make lint` builds it."""

from pathlib import Path

import pytest

from infra.local.actionlint import __main__ as actionlint

WORKFLOW = """\
on: pull_request
jobs:
  one:
    runs-on: ubuntu-24.04
    steps: [{{run: echo, {key}: 1}}]
"""


@pytest.mark.parametrize(("key", "code"), [("timeout-minutes", 0), ("timeout-minuets", 1)])
def test_a_mistake_is_found(key: str, code: int, tmp_path: Path) -> None:
    if not actionlint.program_path().exists():
        pytest.skip(f"{actionlint.program_path()} is not there: make lint")
    workflow = tmp_path / "workflow.yaml"
    workflow.write_text(WORKFLOW.format(key=key))
    assert actionlint.main([str(workflow)]) == code
