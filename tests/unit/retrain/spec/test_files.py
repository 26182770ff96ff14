"""The folder of model files: what is read, and what is said about files that are not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from retrain.errors import InvalidSpec, UnknownModel
from retrain.spec.files import check_models, load_model
from tests.fakes.row_source import SMALL_MODEL


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "small.yaml").write_text(SMALL_MODEL)
    (tmp_path / "small.sql").write_text("SELECT * FROM things")
    return tmp_path


def sentences(folder: Path) -> list[str]:
    return [
        str(mistake).removeprefix(f"{folder}/") for mistake in check_models(folder, None).mistakes
    ]


def test_the_mark_that_some_editors_put_first_changes_nothing(folder: Path) -> None:
    plain = load_model(folder, "small")
    for name in ("small.yaml", "small.sql"):
        path = folder / name
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_model(folder, "small") == plain
    assert sentences(folder) == []


@pytest.mark.parametrize("name", ["small.yaml", "small.sql"])
def test_a_file_that_is_no_utf_8_is_named_with_its_line(folder: Path, name: str) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes().rstrip(b"\n") + b"\n# \xe4\n")
    lines = path.read_bytes().count(b"\n")
    assert sentences(folder) == [f"{name}:{lines}: is not UTF-8; save it as UTF-8"]
    with pytest.raises(InvalidSpec, match=f"{name}:{lines}: is not UTF-8"):
        load_model(folder, "small")


def test_a_yml_file_is_not_read_and_said(folder: Path) -> None:
    (folder / "other.yml").write_text(SMALL_MODEL)
    assert sentences(folder) == ["other.yml:1: is not read; rename it to other.yaml"]


@pytest.mark.parametrize("written", ["small", "'small'", '"small"  # the same'])
def test_two_files_with_one_name_are_named(folder: Path, written: str) -> None:
    (folder / "twin.yaml").write_text(SMALL_MODEL.replace("name: small", f"name: {written}"))
    assert sentences(folder) == ["twin.yaml:1: has the name `small`, which small.yaml has too"]
    with pytest.raises(UnknownModel, match=r"several files .*: small\.yaml, twin\.yaml; keep one"):
        load_model(folder, "small")


def test_an_unknown_name_says_which_files_there_are(folder: Path) -> None:
    with pytest.raises(UnknownModel, match=r"has the name `smal`; there are small\.yaml"):
        load_model(folder, "smal")


def test_a_file_is_named_for_its_model(folder: Path) -> None:
    (folder / "other_name.yaml").write_text(SMALL_MODEL.replace("name: small", "name: other"))
    assert sentences(folder) == ["other_name.yaml:1: has the name `other`; rename it to other.yaml"]


def test_files_that_a_retraining_cannot_be_handed_are_refused(folder: Path) -> None:
    digests = (hashlib.sha256(bytes([n % 256, n // 256])).hexdigest() for n in range(2_400))
    (folder / "small.sql").write_text("".join(f"-- {digest}\n" for digest in digests))
    assert sentences(folder) == [
        "small.yaml:1: needs 120 KiB packed with its query;"
        " 96 KiB are the most that a retraining can be handed"
    ]
