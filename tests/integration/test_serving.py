"""A real server process: what it answers, when it is ready, what it refuses."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from client_api.errors import AnswerWrong
from client_api.servers.upstream import Upstream
from infra.local.processes import Program, free_port, start, wait_until_answers
from retrain.contract import ModelCard, digest_of_bytes
from serving.contract import AnswerBlock, Served
from tests.grounds.model_folders import make_model_folder

Run = Callable[[Path, str], subprocess.CompletedProcess[str]]
IMAGE = digest_of_bytes(b"image")
ROW = {"carrier": ["UA"], "distance": [700.0], "hour": [9.0], "weekend": [0.0], "wind_speed": [4.0]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ModelCard]:
    folder = tmp_path_factory.mktemp("model")
    return folder, make_model_folder(folder)


def environment(folder: Path, digest: str, home: Path, port: int) -> dict[str, str]:
    settings = {
        "MODEL_FOLDER": str(folder),
        "MODEL_DIGEST": digest,
        "VERSION": "8",
        "IMAGE_DIGEST": IMAGE,
        "MAX_ROWS": "1000",
        "PORT": str(port),
    }
    return {f"SERVING_{name}": value for name, value in settings.items()} | {
        "HOME": str(home),
        "BENTOML_HOME": str(home / "bentoml"),
    }


@pytest.fixture(scope="module", params=["python -m serving", "bentoml serve"])
def server(
    request: pytest.FixtureRequest,
    model: tuple[Path, ModelCard],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    home, port = tmp_path_factory.mktemp("home"), free_port()
    commands = {
        "python -m serving": [sys.executable, "-m", "serving"],
        "bentoml serve": [
            str(Path(sys.executable).with_name("bentoml")),
            "serve",
            "serving.service:Server",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ],
    }
    env = environment(model[0], model[1].model_digest, home, port)
    program = start(request.param, commands[request.param], log=home / "log.txt", env=env, cwd=home)
    url = f"http://127.0.0.1:{port}"
    wait_until_answers(program, f"{url}/readyz", timeout_seconds=30)
    yield url
    program.stop()


def call(url: str, body: object = None) -> tuple[int, Any]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(
        url, None if body is None else content, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.loads(refusal.read() or b"null")


def ask(url: str, *blocks: Mapping[str, Any]) -> tuple[int, Any]:
    return call(f"{url}/predict", {"blocks": [{"columns": block} for block in blocks]})


def test_each_block_is_answered_with_the_release_that_computed_it(server: str) -> None:
    status, (answer, other) = ask(server, ROW, {**ROW, "distance": [2500.0]})
    assert status == 200
    assert (answer["version"], answer["image_digest"]) == (8, IMAGE)
    first, second = AnswerBlock.model_validate(answer), AnswerBlock.model_validate(other)
    assert 0 <= first.columns["probability"][0] <= 1
    assert first != second


def test_metadata_and_schema_say_what_is_served(server: str, model: tuple[Path, ModelCard]) -> None:
    status, body = call(f"{server}/metadata")
    served = Served.model_validate(body)
    assert status == 200
    assert (
        served.model,
        served.version,
        served.image_digest,
        served.model_digest,
        served.max_rows,
    ) == ("flight-delay", 8, IMAGE, model[1].model_digest, 1000)
    assert call(f"{server}/schema") == (200, model[1].io.model_dump(mode="json"))


def test_a_bad_block_gets_its_own_answer(server: str) -> None:
    status, answers = ask(
        server,
        ROW,
        {**ROW, "hour": ["nine"]},
        {name: column * 1001 for name, column in ROW.items()},
        ROW,
    )
    assert status == 200
    assert [answer.get("status", 200) for answer in answers] == [200, 400, 413, 200]
    assert answers[1]["detail"] == "column hour holds numbers: send numbers, not strings"
    assert answers[0] == answers[3]


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"[" * 100_000,
        b"{}",
        b"[]",
        b'{"blocks": 1}',
        b'{"blocks": [{"columns": {"hour": [[1]]}}]}',
        b'{"blocks": [{"columns": {"hour": 1}}]}',
        b'{"blocks": [{}]}',
        b'{"blocks": [{"columns": {}, "extra": 1}]}',
        b'{"blocks": [{"columns": {"carrier": ["\\ud800"]}}]}',
    ],
    ids=lambda body: body[:40].decode(),
)
def test_a_malformed_body_is_a_400_of_its_own(server: str, body: bytes) -> None:
    status, answer = call(f"{server}/predict", body)
    assert status == 400
    assert "error" in answer
    assert ask(server, ROW)[0] == 200


def test_no_block_is_no_answer(server: str) -> None:
    assert call(f"{server}/predict", {"blocks": []}) == (200, [])


def test_malformed_calls_among_many_harm_no_good_one(server: str) -> None:
    (expected,) = ask(server, ROW)[1]
    answers: list[tuple[int, Any]] = []
    refused: list[int] = []

    def good() -> None:
        answers.extend(ask(server, ROW) for _ in range(20))

    def bad() -> None:
        bodies = (b"{", b'{"blocks": [{"columns": {"hour": [[]]}}]}')
        refused.extend(call(f"{server}/predict", bodies[each % 2])[0] for each in range(20))

    threads = [threading.Thread(target=target) for target in (good, bad, good, bad, good, good)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [(200, [expected])] * 80
    assert refused == [400] * 40


def test_a_pickle_is_refused(server: str) -> None:
    request = urllib.request.Request(
        f"{server}/predict",
        b"cos\nsystem\n(S'true'\ntR.",
        {"Content-Type": "application/vnd.bentoml+pickle"},
    )
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=10)
    refusal.value.close()
    assert refusal.value.code == 415


# What is refused before it serves


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def begin(folder: Path, digest: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **environment(folder, digest, tmp_path, free_port())}
        return subprocess.run(
            [sys.executable, "-m", "serving"],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )

    return begin


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.strip().splitlines()[-1]


def test_an_altered_model_is_never_ready_and_the_last_line_of_the_log_names_the_file(
    model: tuple[Path, ModelCard], run: Run, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(model[0], tmp_path / "altered"))
    network = folder / "model.onnx"
    network.write_bytes(network.read_bytes()[:-1] + b"\0")
    done = run(folder, model[1].model_digest)
    assert done.returncode == 1
    assert last_line(done).startswith(f"ModelAltered: {network} is sha256:")


def test_a_missing_model_says_what_to_check(run: Run, tmp_path: Path) -> None:
    done = run(tmp_path / "nowhere", digest_of_bytes(b""))
    assert done.returncode == 1
    assert "nowhere/model.json should be a file of the model and is not one" in last_line(done)
    assert "check SERVING_MODEL_FOLDER and the image's model layer" in last_line(done)


def test_a_model_that_cannot_answer_says_so_on_the_last_line(
    model: tuple[Path, ModelCard], run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"no network")
    card = model[1].model_copy(update={"files": {"model.onnx": digest_of_bytes(b"no network")}})
    (folder / "model.json").write_bytes(card.to_bytes())
    done = run(folder, card.model_digest)
    assert done.returncode == 1
    assert last_line(done).startswith(
        "ModelUnusable: model.onnx has the expected digest and onnxruntime cannot load it"
    )


def test_a_placeholder_that_no_release_replaced_is_refused_by_the_settings_name(
    model: tuple[Path, ModelCard], run: Run
) -> None:
    done = run(model[0], "unset")
    assert done.returncode == 1
    assert last_line(done).startswith(
        "the settings are wrong: SERVING_MODEL_DIGEST cannot be used: it should match pattern"
    )


def test_a_call_in_flight_at_sigterm_is_answered(
    model: tuple[Path, ModelCard], tmp_path: Path
) -> None:
    port = free_port()
    env = environment(model[0], model[1].model_digest, tmp_path, port)
    program: Program = start(
        "server", [sys.executable, "-m", "serving"], log=tmp_path / "log.txt", env=env, cwd=tmp_path
    )
    url = f"http://127.0.0.1:{port}"
    wait_until_answers(program, f"{url}/readyz", timeout_seconds=30)
    answers: list[tuple[int, Any]] = []
    block = {name: column * 1000 for name, column in ROW.items()}
    caller = threading.Thread(target=lambda: answers.append(ask(url, *[block] * 60)))
    caller.start()
    time.sleep(0.15)  # until the server is at work on it: nothing says so from outside
    program.process.send_signal(signal.SIGTERM)
    program.process.wait(8)
    caller.join(10)
    assert answers[0][0] == 200
    assert len(answers[0][1]) == 60


def test_with_a_token_only_the_gateway_that_carries_it_is_answered(
    model: tuple[Path, ModelCard], tmp_path: Path
) -> None:
    port, token = free_port(), "correct-horse-battery-staple"
    env = environment(model[0], model[1].model_digest, tmp_path, port) | {"SERVING_TOKEN": token}
    program = start(
        "server", [sys.executable, "-m", "serving"], log=tmp_path / "log.txt", env=env, cwd=tmp_path
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_answers(program, f"{url}/readyz", timeout_seconds=30)
        assert [
            ask(url, ROW)[0],
            call(f"{url}/metadata")[0],
            call(f"{url}/schema")[0],
            call(f"{url}/")[0],
        ] == [401] * 4
        assert asyncio.run(_through_the_gateways_client(url, token)).version == 8
        with pytest.raises(AnswerWrong, match="401"):
            asyncio.run(_through_the_gateways_client(url, "another-token-altogether"))
    finally:
        program.stop()


async def _through_the_gateways_client(url: str, token: str) -> Served:
    upstream = Upstream(url, tls=ssl.create_default_context(), token=SecretStr(token))
    try:
        [answer] = (
            await upstream.predict([ROW], deadline=asyncio.get_running_loop().time() + 5)
            if token.startswith("correct")
            else [None]
        )
        assert answer is None or isinstance(answer, AnswerBlock)
        return await upstream.metadata()
    finally:
        await upstream.close()
