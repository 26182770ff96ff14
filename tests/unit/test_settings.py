"""What all four services promise of their settings.

Unknown settings are refused. All problems come at once. No message holds a value.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import BaseSettings
from typer import Typer
from typer.testing import CliRunner

import client_api.settings
import promote.cli
import promote.settings
import retrain.cli
import retrain.settings
import serving.settings
from retrain.contract import digest_of_bytes
from retrain.environment import SettingsRefused

SECRET = "correct-horse-battery-staple"
PROMOTE = {
    "PROMOTE_TRACKING_URL": "http://mlflow.test",
    "PROMOTE_FORGE_TOKEN": SECRET,
    "PROMOTE_REPOSITORY": "acme/ratchet",
    "PROMOTE_IMAGES": "oci-layout:/images",
    "PROMOTE_CLUSTER_URL": "http://cluster.test",
}
SERVING = {
    "SERVING_MODEL_DIGEST": digest_of_bytes(b""),
    "SERVING_VERSION": "8",
    "SERVING_IMAGE_DIGEST": digest_of_bytes(b""),
}
SERVICES = [
    pytest.param("RETRAIN_", retrain.settings.read_settings, {}, id="retrain"),
    pytest.param("PROMOTE_", promote.settings.read_settings, PROMOTE, id="promote"),
    pytest.param("SERVING_", serving.settings.read_settings, SERVING, id="serving"),
    pytest.param(
        "CLIENT_API_",
        client_api.settings.read_settings,
        {"CLIENT_API_ENDPOINTS": "/e.json", "CLIENT_API_KEYS": SECRET},
        id="client_api",
    ),
]
Read = Callable[[], BaseSettings]


def refused(read: Read, monkeypatch: pytest.MonkeyPatch, given: dict[str, str]) -> list[str]:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsRefused) as caught:
        read()
    assert caught.value.__cause__ is caught.value.__context__ is None, (
        "a traceback would show what caused it"
    )
    assert str(caught.value) == "; ".join(caught.value.problems)
    return list(caught.value.problems)


@pytest.mark.parametrize(("prefix", "read", "valid"), SERVICES)
def test_settings_without_a_mistake_are_read(
    prefix: str, read: Read, valid: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (valid | {f"X{prefix}FOO": "1", "RATCHET_TASKS": "local"}).items():
        monkeypatch.setenv(name, value)
    assert SECRET not in repr(read())


@pytest.mark.parametrize(("prefix", "read", "valid"), SERVICES)
def test_every_unknown_variable_with_our_prefix_is_refused_with_the_nearest_name(
    prefix: str, read: Read, valid: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = sorted(f"{prefix}{field.upper()}" for field in _form(read).model_fields)
    misspelled = {name[:-1]: name for name in known}
    problems = refused(read, monkeypatch, valid | dict.fromkeys(misspelled, SECRET))
    assert problems == [
        f"{wrong} is no setting: did you mean {misspelled[wrong]}?" for wrong in sorted(misspelled)
    ]


@pytest.mark.parametrize(
    ("read", "valid", "wrong", "right"),
    [
        (retrain.settings.read_settings, {}, "RETRAIN_SOURCE", "RETRAIN_SOURCES"),
        (retrain.settings.read_settings, {}, "retrain_snapshot", "RETRAIN_SNAPSHOTS"),
        (promote.settings.read_settings, PROMOTE, "PROMOTE_FORGE_TOKN", "PROMOTE_FORGE_TOKEN"),
        (serving.settings.read_settings, SERVING, "SERVING_DRAIN_SECOND", "SERVING_DRAIN_SECONDS"),
    ],
)
def test_a_misspelled_variable_is_answered_with_the_name_that_was_meant(
    read: Read, valid: dict[str, str], wrong: str, right: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refused(read, monkeypatch, valid | {wrong: "1"}) == [
        f"{wrong.upper()} is no setting: did you mean {right}?"
    ]


def test_a_variable_that_is_like_no_setting_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    (problem,) = refused(retrain.settings.read_settings, monkeypatch, {"RETRAIN_FOO": "1"})
    assert problem.startswith("RETRAIN_FOO is no setting: did you mean RETRAIN_")


@pytest.mark.parametrize(
    "name", ["PROMOTE_SERVICE_HOST", "PROMOTE_SERVICE_PORT_HTTP", "PROMOTE_PORT_8080_TCP_ADDR"]
)
def test_what_kubernetes_adds_for_a_service_is_told_with_what_turns_it_off(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (problem,) = refused(promote.settings.read_settings, monkeypatch, PROMOTE | {name: "10.0.0.1"})
    assert (
        problem == f"{name} is no setting: Kubernetes adds it for a Service;"
        " set `enableServiceLinks: false` in the pod"
    )


def test_all_problems_are_named_at_once_and_none_with_a_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {
        "RETRAIN_WORKERS": "many",
        "RETRAIN_SOURCES": f"{{{SECRET}",
        "RETRAIN_FOO": "1",
        "RETRAIN_TRACKING_URL": f"http://me:{SECRET}@mlflow.test",
    }
    problems = refused(retrain.settings.read_settings, monkeypatch, given)
    assert [problem.split()[0] for problem in problems] == [
        "RETRAIN_FOO",
        "RETRAIN_SOURCES",
        "RETRAIN_TRACKING_URL",
        "RETRAIN_WORKERS",
    ]
    assert problems[1].startswith(
        "RETRAIN_SOURCES cannot be used: write names and addresses as JSON, such as {"
    )
    assert "MLFLOW_TRACKING_PASSWORD" in problems[2]
    assert (
        problems[3] == "RETRAIN_WORKERS cannot be used: it should be a valid integer,"
        " unable to parse string as an integer"
    )


def test_a_setting_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    problems = refused(serving.settings.read_settings, monkeypatch, {"SERVING_VERSION": "8"})
    assert problems == [
        "SERVING_MODEL_DIGEST is not set, and has no default",
        "SERVING_IMAGE_DIGEST is not set, and has no default",
    ]


@pytest.mark.parametrize(
    ("application", "command"),
    [
        (retrain.cli.app, ["check"]),
        (retrain.cli.app, ["run", "m", "--end", "2013-07-08"]),
        (promote.cli.app, ["serve"]),
    ],
)
def test_the_commands_end_with_2_and_a_sentence_a_line(
    application: Typer, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        **PROMOTE,
        "RETRAIN_FOO": SECRET,
        "RETRAIN_SOURCES": "no JSON",
        "PROMOTE_FOO": SECRET,
        "PROMOTE_PORT": "tcp://10.0.0.1:80",
    }.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(application, command)
    assert (done.exit_code, done.stdout) == (2, "")
    first, *problems = done.stderr.splitlines()
    assert first == "the settings are wrong:"
    assert len(problems) == 2
    assert SECRET not in done.stderr


@pytest.mark.parametrize(("prefix", "read", "valid"), SERVICES)
def test_an_error_of_the_settings_themselves_shows_no_value_either(
    prefix: str, read: Read, valid: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    form = _form(read)
    with pytest.raises(ValidationError) as caught:
        form(**dict.fromkeys(form.model_fields, f"{SECRET}\n"))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("secret", ["", f"{SECRET}\n", f"{SECRET} ", f"{SECRET}é", f"{SECRET}\0"])
@pytest.mark.parametrize(
    ("form", "field"),
    [
        (serving.settings.Settings, "token"),
        (client_api.settings.Settings, "serving_token"),
        (promote.settings.PromoteSettings, "forge_token"),
    ],
)
def test_a_secret_that_no_header_can_carry_is_refused(
    form: type[BaseSettings], field: str, secret: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        form(**{field: secret})
    assert field in {error["loc"][0] for error in caught.value.errors()}


@pytest.mark.parametrize("given", ['["a", 3]', '["a"', "[]", "[[]]", '[""]', ","])
def test_keys_that_are_no_list_of_strings_are_refused(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (problem,) = refused(
        client_api.settings.read_settings,
        monkeypatch,
        {"CLIENT_API_ENDPOINTS": "/e.json", "CLIENT_API_KEYS": given},
    )
    assert problem.startswith("CLIENT_API_KEYS cannot be used: it ")


@pytest.mark.parametrize(
    "given",
    [
        "",
        "warehouse",
        "[]",
        "3",
        '{"warehouse": 3}',
        '{"warehouse": {}}',
        json.dumps([["warehouse", "duckdb:///w"]]),
    ],
)
def test_sources_that_are_no_names_with_addresses_are_refused(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (problem,) = refused(retrain.settings.read_settings, monkeypatch, {"RETRAIN_SOURCES": given})
    assert problem.startswith("RETRAIN_SOURCES cannot be used: write names and addresses as JSON")


@pytest.mark.parametrize(
    "address", [f"http://me:{SECRET}@mlflow.test", "127.0.0.1:5000", "sqlite:///mlflow.db", "/srv"]
)
def test_promote_takes_an_mlflow_server_without_a_password(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = PROMOTE | {"PROMOTE_TRACKING_URL": address}
    (problem,) = refused(promote.settings.read_settings, monkeypatch, given)
    assert problem.endswith("MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLUSTER_URL", "kubeconfig:admin@kubernetes"),
        ("CLUSTER_URL", "kubeconfig:arn:aws:eks:eu-central-1:123456789012:cluster/ratchet"),
        ("CLUSTER_URL", "https://[::1]:6443/clusters/one"),
        ("IMAGES", "oci-layout:/srv/a folder/of@me"),
        ("IMAGES", "ecr:123456789012.dkr.ecr.eu-central-1.amazonaws.com/team"),
        ("IMAGES", "http://127.0.0.1:5000/ratchet"),
        ("BASE_IMAGE", f"https://registry.test/serving@sha256:{'0' * 64}"),
        ("BASE_IMAGE", ""),
        ("PUBLIC_TRACKING_URL", ""),
        ("FORGE_URL", "https://github.example/api/v3"),
    ],
)
def test_addresses_that_hold_no_secret_are_taken(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each, given in (PROMOTE | {f"PROMOTE_{name}": value}).items():
        monkeypatch.setenv(each, given)
    assert getattr(promote.settings.read_settings(), name.lower()) == value


def _form(read: Read) -> type[BaseSettings]:
    return next(
        value for name, value in read.__globals__.items() if name in ("Settings", "PromoteSettings")
    )


def mirror_root(settings: promote.settings.PromoteSettings) -> Path:
    return settings.mirror_folder.parent


def test_the_mirror_of_people_is_in_their_cache_and_the_services_in_the_temporary_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in (PROMOTE | {"HOME": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    people, service = promote.settings.read_settings, promote.settings.read_service_settings
    assert mirror_root(people()) == tmp_path / ".cache" / "ratchet"
    assert mirror_root(service()).parent == Path(tempfile.gettempdir())
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/ada")
    assert mirror_root(people()) == Path("/var/cache/ada/ratchet")
    monkeypatch.delenv("HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert mirror_root(people()) == mirror_root(service())
    monkeypatch.setenv("PROMOTE_MIRROR", "/mirror")
    assert mirror_root(people()) == mirror_root(service()) == Path("/mirror")
