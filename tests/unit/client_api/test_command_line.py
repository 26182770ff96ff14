"""`python -m client_api --help` and `python -m serving --help`: settings, exit codes, version."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import client_api.__main__
import client_api.settings
import serving.__main__
import serving.settings
from retrain import __version__

ROOT = Path(__file__).parents[3]
SERVICES = [
    pytest.param(client_api.__main__.main, client_api.settings, id="client_api"),
    pytest.param(serving.__main__.main, serving.settings, id="serving"),
]


@pytest.mark.parametrize(("main", "settings"), SERVICES)
def test_help_says_what_every_setting_means_and_the_exit_codes(main, settings, capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    for name, field in settings.Settings.model_fields.items():
        assert f"{settings.PREFIX}{name.upper()} (" in said
        assert field.description, f"{name} has no docstring"
        assert field.description.splitlines()[0] in said
    assert "Exit codes:" in said


@pytest.mark.parametrize(("main", "settings"), SERVICES)
def test_version_is_the_version_of_the_wheel(main, settings, capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert capsys.readouterr().out == f"ratchet {wheel}\n"
    assert __version__ == wheel


@pytest.mark.parametrize(("main", "settings"), SERVICES)
def test_wrong_arguments_end_with_2(main, settings, capsys):
    with pytest.raises(SystemExit) as end:
        main(["--prot", "80"])
    assert end.value.code == 2
    assert "unrecognized arguments" in capsys.readouterr().err
