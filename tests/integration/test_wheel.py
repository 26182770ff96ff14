"""The wheel has all that its commands need: here it is installed apart from this checkout."""

from pathlib import Path

import pytest

from retrain.commands.init import template
from tests.grounds.wheel import ROOT, installed_wheel, run


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed_wheel(tmp_path_factory.mktemp("wheel"))


def test_retrain_init_of_the_wheel_writes_what_the_checkouts_does(
    installed: Path, tmp_path: Path
) -> None:
    where = "import retrain; print(retrain.__file__)"
    assert str(ROOT) not in run(installed / "python", "-c", where, cwd=tmp_path)
    run(installed / "retrain", "init", "mine", cwd=tmp_path)
    found = {
        str(path.relative_to(tmp_path / "mine")): path.read_bytes()
        for path in (tmp_path / "mine").rglob("*")
        if path.is_file()
    }
    assert found == template()


def test_the_laptops_command_of_the_wheel_finds_its_own_files(
    installed: Path, tmp_path: Path
) -> None:
    found = "from infra.local.root import ROOT; print(ROOT)"
    root = Path(run(installed / "python", "-c", found, cwd=tmp_path).strip())
    assert not root.is_relative_to(ROOT)
    for name in (
        "dags/retrain_dags.py",
        "dags/ratchet_tasks/__init__.py",
        "infra/images/airflow/ratchet_bundle.py",
        "infra/locks/retrain.txt",
    ):
        assert (root / name).exists(), name
    assert "--repo" in run(installed / "ratchet-laptop", "--help", cwd=tmp_path)


@pytest.mark.parametrize("command", ["retrain", "promote"])
def test_each_command_of_the_wheel_starts(installed: Path, tmp_path: Path, command: str) -> None:
    assert run(installed / command, "--version", cwd=tmp_path).startswith("ratchet ")
    assert "--help" in run(installed / command, "--help", cwd=tmp_path)
