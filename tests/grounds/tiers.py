"""Which cases of a long table `make test` runs. `make e2e` runs the others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest


def cases(table: Mapping[str, Any], *, in_make_test: Collection[str]) -> list[Any]:
    """Turn a table into pytest's parameters: one case per entry, its key is the case's name.

    Args:
        table: A case's value by its name.
        in_make_test: The names of the cases that `make test` runs. The others are marked `e2e`.
    """
    unknown = sorted(set(in_make_test) - set(table))
    assert unknown == [], f"the table has no such cases: {unknown}"
    return [
        pytest.param(value, id=name, marks=() if name in in_make_test else pytest.mark.e2e)
        for name, value in table.items()
    ]
