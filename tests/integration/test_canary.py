"""No output of a service holds a secret: each runs with marked secrets, right and wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from infra.local.processes import Program, free_port, start, wait_until_answers
from retrain.contract import digest_of_bytes
from tests.fakes.promotion_world import MODEL, World
from tests.grounds.model_folders import make_model_folder
from tests.grounds.tiers import cases

MARK = "canary-7f3a"
TOKEN = f"{MARK}-long-enough-for-a-token"
ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
LOGIN = f"https://somebody:{MARK}@host.invalid"
NOBODY = "http://127.0.0.1:1"
"""Nothing listens there: every question is refused at once."""
OTHERS = {
    "MLFLOW_TRACKING_USERNAME": MARK,
    "MLFLOW_TRACKING_PASSWORD": MARK,
    "AWS_ACCESS_KEY_ID": MARK,
    "AWS_SECRET_ACCESS_KEY": MARK,
    "AWS_SESSION_TOKEN": MARK,
    "AWS_ENDPOINT_URL": NOBODY,
    "AWS_REGION": "eu-central-1",
    "HTTPS_PROXY": f"http://somebody:{MARK}@127.0.0.1:1",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}
"""Secrets that our libraries read for themselves."""

SERVING = {
    "SERVING_MODEL_DIGEST": digest_of_bytes(b""),
    "SERVING_VERSION": "8",
    "SERVING_IMAGE_DIGEST": digest_of_bytes(b""),
    "SERVING_TOKEN": TOKEN,
}
GATEWAY = {
    "CLIENT_API_ENDPOINTS": "/nowhere/endpoints.json",
    "CLIENT_API_KEYS": f'["{MARK}"]',
    "CLIENT_API_SERVING_TOKEN": TOKEN,
}
RETRAIN = {
    "RETRAIN_SOURCES": json.dumps(
        {"warehouse": f"duckdb:///nowhere/warehouse.duckdb?password={MARK}"}
    ),
    "RETRAIN_SNAPSHOTS": "s3://acme-snapshots",
    "RETRAIN_TRACKING_URL": NOBODY,
    "RETRAIN_MODELS": str(ROOT / "dags/models"),
    "RETRAIN_LOCK": str(ROOT / "infra/locks/retrain.txt"),
}
PROMOTE = {
    "PROMOTE_TRACKING_URL": NOBODY,
    "PROMOTE_FORGE_URL": NOBODY,
    "PROMOTE_FORGE_TOKEN": TOKEN,
    "PROMOTE_REPOSITORY": "acme/ratchet",
    "PROMOTE_IMAGES": "http://127.0.0.1:1",
    "PROMOTE_IMAGES_USER": "somebody",
    "PROMOTE_IMAGES_PASSWORD": MARK,
    "PROMOTE_CLUSTER_URL": NOBODY,
    "PROMOTE_WEBHOOK_SECRET": MARK,
    "PROMOTE_FORGE_SECONDS_BETWEEN_WRITES": "0",
    "PROMOTE_FORGE_WRITES_PER_HOUR": "0",
}
SERVE, GATE = (sys.executable, "-m", "serving"), (sys.executable, "-m", "client_api")
BENTOML = (str(BIN / "bentoml"), "serve", "serving.service:Server")
UVICORN = (str(BIN / "uvicorn"), "client_api.app:create_app", "--factory")
CHECK, RUN = (
    (str(BIN / "retrain"), "check", "--data"),
    (str(BIN / "retrain"), "run", "flight-delay", "--end", "2013-07-08"),
)
STATUS, LOOP = (str(BIN / "promote"), "status"), (str(BIN / "promote"), "serve")
ROLLBACK = (str(BIN / "promote"), "rollback", "flight-delay", "--reason", "the test")
RECONCILE = (str(BIN / "promote"), "reconcile", "flight-delay", "--once")
JUDGE = (str(BIN / "promote"), "judge", "flight-delay")
ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"


def run(
    folder: Path, command: tuple[str, ...], given: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        **OTHERS,
        "HOME": str(folder),
        "BENTOML_HOME": str(folder / "bentoml"),
        "PYTHONPATH": str(ROOT),
        **given,
    }
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=90, check=False
    )


Environment = dict[str, str]
WRONG_SETTINGS: list[tuple[tuple[str, ...], Environment, Environment]] = [
    (SERVE, SERVING, {"SERVING_TOKEN": MARK}),
    (
        SERVE,
        SERVING,
        {
            "SERVING_TOKEN": f"{TOKEN}\n",
            "SERVING_VERSION": MARK,
            "SERVING_MODEL_DIGEST": MARK,
            "SERVING_PORT": MARK,
            "SERVING_TOKN": MARK,
        },
    ),
    (BENTOML, SERVING, {"SERVING_TOKEN": MARK, "SERVING_VERSION": MARK}),
    (GATE, GATEWAY, {"CLIENT_API_KEYS": f'["{MARK}"'}),
    (GATE, GATEWAY, {"CLIENT_API_KEYS": f'["{MARK}", 3]'}),
    (
        GATE,
        GATEWAY,
        {
            "CLIENT_API_ENDPOINTS": f"dns:{MARK}",
            "CLIENT_API_SERVING_TOKEN": MARK,
            "CLIENT_API_PORT": MARK,
            "CLIENT_API_KEY": MARK,
        },
    ),
    (GATE, GATEWAY, {"CLIENT_API_SERVING_TOKEN": f"{TOKEN}\n"}),
    (UVICORN, GATEWAY, {"CLIENT_API_KEYS": f'["{MARK}"', "CLIENT_API_SERVING_TOKEN": MARK}),
    (CHECK, RETRAIN, {"RETRAIN_SOURCES": f"warehouse={LOGIN}"}),
    (
        CHECK,
        RETRAIN,
        {
            "RETRAIN_SOURCES": json.dumps([LOGIN]),
            "RETRAIN_WORKERS": MARK,
            "RETRAIN_SOURCE": LOGIN,
        },
    ),
    (
        CHECK,
        RETRAIN,
        {
            "RETRAIN_SOURCES": json.dumps({"warehouse": {"password": MARK}, MARK: 3}),
            "RETRAIN_TRACKING_URL": LOGIN,
        },
    ),
    (CHECK, RETRAIN, {"RETRAIN_SNAPSHOTS": f"s3://key:{MARK}@bucket"}),
    (CHECK, RETRAIN, {"RETRAIN_SNAPSHOTS": f"key:{MARK}@host://x"}),
    (
        CHECK,
        RETRAIN,
        {"RETRAIN_SOURCES": json.dumps({"warehouse": f"//somebody:{MARK}@host.invalid/rows"})},
    ),
    (CHECK, RETRAIN, {"RETRAIN_SOURCES": json.dumps({"warehouse": f"somebody-{MARK}"})}),
    (
        CHECK,
        RETRAIN,
        {
            "RETRAIN_SOURCES": json.dumps(
                {"warehouse": f"duckdb://somebody:{MARK}@host.invalid/rows"}
            )
        },
    ),
    (
        CHECK,
        RETRAIN,
        {
            "RETRAIN_SOURCES": json.dumps(
                {"warehouse": f"postgresql://u:{MARK}%zz@127.0.0.1:1/rows"}
            )
        },
    ),
    (RUN, RETRAIN, {"RETRAIN_TRACKING_URL": LOGIN}),
    (
        RUN,
        RETRAIN,
        {
            "MLFLOW_TRACKING_TOKEN": f"{MARK}\n",
            "MLFLOW_TRACKING_PASSWORD": "",
            "MLFLOW_TRACKING_USERNAME": "",
        },
    ),
    (RUN, RETRAIN, {"AWS_SESSION_TOKEN": f"{MARK}\n"}),
    (
        LOOP,
        PROMOTE,
        {
            "MLFLOW_TRACKING_TOKEN": f"{MARK}\n",
            "MLFLOW_TRACKING_PASSWORD": "",
            "MLFLOW_TRACKING_USERNAME": "",
        },
    ),
    (STATUS, PROMOTE, {"PROMOTE_FORGE_TOKEN": f"{TOKEN}\n"}),
    (STATUS, PROMOTE, {"PROMOTE_TRACKING_URL": LOGIN}),
    (
        STATUS,
        PROMOTE,
        {
            "PROMOTE_TRACKING_URL": f"somebody:{MARK}@host.invalid",
            "PROMOTE_PUBLIC_TRACKING_URL": LOGIN,
        },
    ),
    (STATUS, PROMOTE, {"PROMOTE_FORGE_URL": LOGIN}),
    (STATUS, PROMOTE, {"PROMOTE_CLUSTER_URL": LOGIN}),
    (STATUS, PROMOTE, {"PROMOTE_CLUSTER_URL": f"somebody:{MARK}@host.invalid"}),
    (STATUS, PROMOTE, {"PROMOTE_IMAGES": LOGIN}),
    (STATUS, PROMOTE, {"PROMOTE_IMAGES": f"{MARK}@host.invalid"}),
    (STATUS, PROMOTE, {"PROMOTE_IMAGES": f"ecr:somebody:{MARK}@host.invalid"}),
    (STATUS, PROMOTE, {"PROMOTE_BASE_IMAGE": f"{LOGIN}/serving@sha256:{'0' * 64}"}),
    (
        STATUS,
        PROMOTE,
        {"PROMOTE_IMAGES": "oci-layout:/images", "PROMOTE_BASE_IMAGE": f"{LOGIN}/serving"},
    ),
    (
        LOOP,
        PROMOTE,
        {"PROMOTE_PORT": MARK, "PROMOTE_REPOSITORY": MARK, "PROMOTE_FORGE_TOKN": MARK},
    ),
]
"""A command, right settings, and wrong settings that replace some of them."""


def first_of_each_command_in_make_test() -> list[Any]:
    """Every case as pytest's parameters. Cases after a command's first are marked `e2e`."""
    commands = [command for command, _, _ in WRONG_SETTINGS]
    return [
        pytest.param(*case, marks=pytest.mark.e2e if case[0] in commands[:number] else ())
        for number, case in enumerate(WRONG_SETTINGS)
    ]


@pytest.mark.parametrize(("command", "valid", "wrong"), first_of_each_command_in_make_test())
def test_a_service_with_wrong_settings_refuses_to_start_and_says_no_value(
    command: tuple[str, ...], valid: dict[str, str], wrong: dict[str, str], tmp_path: Path
) -> None:
    done = run(tmp_path, command, valid | wrong)
    assert MARK not in done.stdout + done.stderr
    assert done.returncode not in (0, 75), "the service used wrong settings"
    assert next(iter(wrong)).rpartition("_")[0] in done.stderr, "the setting is not named"
    if command not in (BENTOML, UVICORN):
        assert "Traceback" not in done.stderr


NEIGHBOURS_REFUSE = {
    "serving without a model": (SERVE, SERVING | {"SERVING_MODEL_FOLDER": "/nowhere"}),
    "retrain check": (CHECK, RETRAIN),
    "retrain check on Postgres": (
        CHECK,
        RETRAIN
        | {"RETRAIN_SOURCES": json.dumps({"warehouse": f"postgresql://u:{MARK}@127.0.0.1:1/rows"})},
    ),
    "retrain run": (RUN, RETRAIN),
    "retrain run into a folder": (RUN, RETRAIN | {"RETRAIN_SNAPSHOTS": "snapshots"}),
    "promote status": (STATUS, PROMOTE),
    "promote status by https": (STATUS, PROMOTE | {"PROMOTE_FORGE_URL": "https://127.0.0.1:1"}),
    "promote reconcile": (RECONCILE, PROMOTE),
    "promote judge, images in ECR": (JUDGE, PROMOTE | {"PROMOTE_IMAGES": f"ecr:{ECR}"}),
    "promote rollback": (ROLLBACK, PROMOTE),
}


@pytest.mark.parametrize(
    "case",
    cases(NEIGHBOURS_REFUSE, in_make_test=["serving without a model", "retrain check"]),
)
def test_a_service_whose_neighbours_refuse_says_no_secret(
    case: tuple[tuple[str, ...], dict[str, str]], tmp_path: Path
) -> None:
    done = run(tmp_path, *case)
    assert done.returncode != 0
    assert MARK not in done.stdout + done.stderr


def call(url: str, token: str, body: bytes | None = None) -> str:
    request = urllib.request.Request(
        url, body, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.headers) + answer.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return str(refusal.headers) + refusal.read().decode()


def started(folder: Path, command: tuple[str, ...], given: dict[str, str], url: str) -> Program:
    env = {
        **OTHERS,
        "HOME": str(folder),
        "BENTOML_HOME": str(folder / "bentoml"),
        "PYTHONPATH": str(ROOT),
        **given,
    }
    program = start("service", list(command), log=folder / "log", env=env, cwd=folder)
    wait_until_answers(program, url)
    return program


@pytest.mark.e2e
def test_a_server_and_its_gateway_that_answer_say_no_secret(tmp_path: Path) -> None:
    card = make_model_folder(tmp_path / "model")
    ports = free_port(), free_port()
    server, gateway = f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}"
    release = {
        "SERVING_MODEL_FOLDER": str(tmp_path / "model"),
        "SERVING_MODEL_DIGEST": card.model_digest,
        "SERVING_PORT": str(ports[0]),
    }
    (tmp_path / "endpoints.json").write_text(
        json.dumps({"models": {"flight-delay": [{"url": server}]}})
    )
    place = {
        "CLIENT_API_ENDPOINTS": str(tmp_path / "endpoints.json"),
        "CLIENT_API_PORT": str(ports[1]),
        "CLIENT_API_ACCESS_LOG_SHARE": "1",
    }
    programs = []
    try:
        programs.append(started(tmp_path / "server", SERVE, SERVING | release, f"{server}/readyz"))
        programs.append(started(tmp_path / "gateway", GATE, GATEWAY | place, f"{gateway}/readyz"))
        row = b'{"instances": [{"carrier": "UA", "distance": 700, "hour": 9, "weekend": false}]}'
        predict = f"{gateway}/v1/models/flight-delay:predict"
        answers = [
            call(predict, MARK, row),
            call(predict, f"{MARK}x", row),
            call(predict, MARK, b"{"),
            call(f"{gateway}/metrics", MARK),
        ]
        answers += [
            call(f"{gateway}/openapi.json", MARK),
            call(f"{server}/metadata", TOKEN),
            call(f"{server}/predict", f"{TOKEN}x", b"{}"),
        ]
        assert '"probability"' in answers[0]
        assert not [answer for answer in answers if MARK in answer]
    finally:
        for program in programs:
            program.stop()
    assert not [
        folder
        for folder in ("server", "gateway")
        if MARK in (tmp_path / folder / "log").read_text()
    ]


@pytest.mark.e2e
def test_promotes_service_before_neighbours_that_refuse_says_no_secret(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    program = started(
        tmp_path,
        LOOP,
        PROMOTE | {"PROMOTE_PORT": str(port), "PROMOTE_INTERVAL_SECONDS": "1"},
        f"{url}/promotions",
    )
    try:
        answers = [
            call(f"{url}/nudge/{MODEL}", "", b""),
            call(f"{url}/promotions", ""),
            call(f"{url}/promotions/{MODEL}", ""),
            call(f"{url}/health", ""),
        ]
    finally:
        program.stop()
    assert not [answer for answer in answers if MARK in answer]
    assert MARK not in (tmp_path / "log").read_text()


def test_the_last_line_of_a_server_that_refuses_its_token_carries_no_secret_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**OTHERS, **SERVING, **PROMOTE, **RETRAIN, **GATEWAY}.items():
        monkeypatch.setenv(
            name, value
        )  # promote's own, should anything of it read more than it is given
    words = run(tmp_path, SERVE, SERVING | {"SERVING_TOKEN": MARK}).stderr.strip().splitlines()[-1]
    world = World()
    world.ship()
    world.register()
    world.reconciler().reconcile(MODEL)
    world.forge.merge(world.open_pull().pull.number)
    world.rollout.fails(
        MODEL, world.release_on_main().image, f"ProgressDeadlineExceeded. exit code 1: {words}"
    )
    for _ in range(3):
        world.reconciler().reconcile(MODEL)
    said = repr(
        [
            world.forge.statuses_of,
            world.forge.comments,
            world.forge.bodies,
            world.forge.pulls,
            world.forge.commits,
            world.forge.branches,
        ]
    )
    assert "SERVING_TOKEN" in said, "the reason did not come this far: the test sees nothing"
    assert MARK not in said
    assert MARK not in repr([world.registry._versions, vars(world.registry)])
    images = list(world.images._images.values())
    assert images
    for image in images:
        assert MARK.encode() not in b"".join(_bytes_of(image))
        assert MARK not in repr(image)


def test_a_kubeconfig_whose_token_ends_with_a_line_is_not_shown(tmp_path: Path) -> None:
    place = (
        {"name": "c", "cluster": {"server": NOBODY}},
        {"name": "u", "user": {"token": f"{MARK}\n"}},
        {"name": "x", "context": {"cluster": "c", "user": "u"}},
    )
    file = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "clusters": [place[0]],
        "users": [place[1]],
        "contexts": [place[2]],
    }
    (tmp_path / "config").write_text(json.dumps(file))
    code = "from promote.cluster.kubernetes import KubernetesRollout\n"
    code += "from promote.errors import ClusterUnavailable\n"
    code += "try: KubernetesRollout('kubeconfig').status('m', 'i')\n"
    code += "except ClusterUnavailable as refusal: print(refusal)"
    done = run(tmp_path, (sys.executable, "-c", code), {"KUBECONFIG": str(tmp_path / "config")})
    assert "asked the cluster (kubeconfig) for" in done.stdout
    assert MARK not in done.stdout + done.stderr


def _bytes_of(image: object) -> list[bytes]:
    return [value for value in vars(image).values() if isinstance(value, bytes)] + [
        image.model_layer.content
    ]  # type: ignore[attr-defined]
