"""What ships with a model needs three libraries only: numpy, onnxruntime and pydantic."""

from __future__ import annotations

import sys

import grimp
import pytest

ALLOWED = {"numpy", "onnxruntime", "pydantic", "pydantic_core"}
NOT_SHIPPED = "retrain.model.arrow"
"""Reads Arrow tables for promote and retrain. It is not in the serving image."""


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("retrain", include_external_packages=True, cache_dir=None)


def libraries_of(module: str, imports: grimp.ImportGraph) -> set[str]:
    """The libraries that a module imports, itself or through other modules of ours."""
    upstream = {module} | imports.find_upstream_modules(module)
    packages = {name.partition(".")[0] for name in upstream}
    return packages - {"retrain"} - sys.stdlib_module_names


def test_the_model_room_needs_no_other_library(imports: grimp.ImportGraph) -> None:
    shipped = {"retrain.model"} | imports.find_children("retrain.model") - {NOT_SHIPPED}
    assert len(shipped) > 2
    needed = {module: libraries_of(module, imports) - ALLOWED for module in shipped}
    assert {module: names for module, names in needed.items() if names} == {}


def test_the_test_sees_a_library_through_other_modules(imports: grimp.ImportGraph) -> None:
    assert "pyarrow" in libraries_of(NOT_SHIPPED, imports)
    assert "sklearn" in libraries_of("retrain.workflow", imports)
