"""What is decided in one place only: the side of 0.5, and the names that a model may have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from promote.contract import Slot, check_model
from promote.errors import InvalidName
from promote.images.names import check_repository
from promote.loop.policy import models_on_main
from promote.release.slot import release_path
from retrain.contract import RESERVED_MODEL_NAMES, problem_with_model_name
from retrain.errors import InvalidSpec
from retrain.spec.model_file import ModelFile, parse_spec
from tests.unit.retrain.spec.test_model_file import MINIMAL

ROOT = Path(__file__).parents[2]
PRODUCT = ("retrain", "promote", "serving", "client_api", "dags", "infra")


def lines(pattern: str) -> dict[str, list[str]]:
    """Return the product's lines that the pattern is found in, by file."""
    found: dict[str, list[str]] = {}
    for folder in PRODUCT:
        for path in sorted((ROOT / folder).rglob("*.py")):
            hits = [
                line.strip() for line in path.read_text().splitlines() if re.search(pattern, line)
            ]
            if hits:
                found[str(path.relative_to(ROOT))] = hits
    return found


def test_only_one_function_says_which_side_one_half_is_on() -> None:
    compared = lines(r"[<>]=?\s*0?\.5\b(?!\d)|\b0?\.5\s*[<>]")
    assert compared == {
        "retrain/comparison/metrics.py": [
            "flags: Flags = np.asarray(scores, dtype=np.float64) > 0.5"
        ]
    }


OTHER_NAMES = {
    "promote/images/ecr.py": "a region of AWS, inside a registry's address",
    "promote/settings.py": "an environment's name",
    "infra/local/forge/__main__.py": "an owner and a repository",
}


def test_every_other_pattern_for_names_is_for_another_kind_of_name() -> None:
    assert set(lines(r"""a-z0-9-\]""")) == {"retrain/contract.py", *OTHER_NAMES}


GOOD = ["a", "flight-delay", "v2", "a--b", "unknown", "x" * 40]
BAD = [
    *[
        "",
        "-a",
        "a-",
        "A",
        "a_b",
        "a.b",
        "..",
        "a/b",
        "2b",
        "x" * 41,
        "a\n",
        "\na",
        "a b",
        "é",
        "a:b",
    ],
    *sorted(RESERVED_MODEL_NAMES),
]


class OneFile:
    """Main with one model's file, as far as `models_on_main` asks."""

    def __init__(self, name: str) -> None:
        self.content = f"name: {name}\n".encode()

    def list_folder(self, path: str, commit: str) -> list[str]:
        return [f"{path}/one.yaml"]

    def read_file(self, path: str, commit: str) -> bytes:
        return self.content


def spec_takes(name: str) -> bool:
    text = MINIMAL.replace("name: flight-delay", f"name: {name!r}")
    try:
        return parse_spec(text, path="m.yaml", query_text="SELECT 1").name == name
    except InvalidSpec as error:
        return "`name` is" not in str(error)


@pytest.mark.parametrize("name", GOOD)
def test_a_good_name_is_good_everywhere(name: str) -> None:
    assert problem_with_model_name(name) == ""
    assert check_model(name) == name
    assert spec_takes(name)
    assert list(models_on_main(OneFile(name), "main")) == [name]  # type: ignore[arg-type]  # asks these two only
    assert check_repository(name) == name
    assert release_path(Slot(name, "production"))


@pytest.mark.parametrize("name", BAD)
def test_a_bad_name_is_bad_everywhere(name: str) -> None:
    assert problem_with_model_name(name)
    with pytest.raises(InvalidName):
        check_model(name)
    if "\n" not in name:  # YAML takes it as the name's end
        assert not spec_takes(name)


def test_names_that_gitops_has_taken_are_reserved() -> None:
    """The first pull request of a model writes gitops/clusters/<environment>/<model>.yaml."""
    clusters = {path.stem for path in (ROOT / "gitops" / "clusters").glob("*/*.yaml")}
    models = {path.stem for path in (ROOT / "dags" / "models").glob("*.yaml")}
    rooms = {
        path.name
        for path in (ROOT / "gitops" / "models").iterdir()
        if path.name in ("base", "release")
    }
    assert rooms == {"base", "release"}
    assert clusters - models - {"flight-delay"} <= RESERVED_MODEL_NAMES
    assert clusters | rooms | {"blobs"} >= RESERVED_MODEL_NAMES


def test_the_longest_name_fits_into_kubernetes_with_each_prefix() -> None:
    for prefix in ("server-", "retrain-"):
        assert len(prefix + "x" * 40) <= 63
    assert (
        ModelFile.model_json_schema()["properties"]["name"]["pattern"]
        == "^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$"
    )
