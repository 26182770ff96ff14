"""`mlflow.pyfunc.load_model("models:/…@champion")` in a notebook's process, on a real MLflow."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest

from retrain.contract import ModelCard
from retrain.model.columns import columns_of
from retrain.model.folder import read_folder
from retrain.model.program import Program
from retrain.runs.client import open_client
from retrain.runs.mlflow_folder import describe_for_mlflow
from tests.grounds.model_folders import FEATURES, make_model_folder

CELLS = {
    "weekend": [False, True],  # not in the card's order
    "carrier": ["UA", None],
    "distance": [900, 1],  # integers of 64 bits for a number
    "hour": [9, None],  # a missing integer: pandas makes the column float64
}
EXAMPLE = {"carrier": "UA", "distance": 1.0, "hour": 9, "weekend": False, "wind_speed": None}
NOTEBOOK = """
import json, sys
import mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
answers = model.predict(pandas.DataFrame(json.loads(sys.argv[2]), index=["first", "second"]))
print(json.dumps(answers.to_dict(orient="split")))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    card = make_model_folder(tmp_path / "model")
    describe_for_mlflow(tmp_path / "model", card.io, EXAMPLE)
    return tmp_path / "model"


def register_champion(url: str, folder: Path) -> str:
    client, model = open_client(url), f"notebook-{uuid.uuid4().hex[:8]}"
    client.create_registered_model(model)
    run = client.create_run(client.create_experiment(model)).info
    client.log_artifacts(run.run_id, str(folder.parent))
    version = client.create_model_version(model, f"{run.artifact_uri}/model", run.run_id)
    client.set_registered_model_alias(model, "champion", version.version)
    return f"models:/{model}@champion"


def ask(model: str, cells: dict[str, list[object]], *, url: str, home: Path) -> str:
    """Run the notebook with nothing of our environment but the interpreter."""
    environment = {
        "HOME": str(home),
        "MLFLOW_TRACKING_URI": url,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK, model, json.dumps(cells)],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_champion_answers_a_frame_as_the_server_answers_its_rows(
    mlflow_server: str, folder: Path, tmp_path: Path
) -> None:
    model = register_champion(mlflow_server, folder)
    (tmp_path / "home").mkdir()
    answers = json.loads(ask(model, CELLS, url=mlflow_server, home=tmp_path / "home"))
    card = ModelCard.model_validate_json((folder / "model.json").read_bytes())
    network = read_folder(folder, digest=card.model_digest).network
    columns = columns_of(FEATURES, {**CELLS, "wind_speed": [None, None]})
    expected = Program(network, card.io).answer(columns)["probability"]
    assert (answers["columns"], answers["index"]) == (["probability"], ["first", "second"])
    np.testing.assert_allclose([row[0] for row in answers["data"]], expected, atol=1e-6)


def test_the_card_lists_none_of_mlflows_files(folder: Path) -> None:
    card = ModelCard.model_validate_json((folder / "model.json").read_bytes())
    mlflows = {"MLmodel", "input_example.json", "model_from_code.py"}
    assert {path.name for path in folder.iterdir()} == {"model.json", *card.files, *mlflows}
