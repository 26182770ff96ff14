"""The folder of DAG files for a user's repository: our files beside her model files."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[3]
_OURS = (".airflowignore", "retrain_dags.py", "ratchet_tasks")


def dags_folder(folder: Path, models: Path) -> Path:
    """Return a folder of links in `folder`, which Airflow reads as one folder."""
    dags = folder / "dags"
    dags.mkdir(parents=True, exist_ok=True)
    for name, target in {
        **{name: ROOT / "dags" / name for name in _OURS},
        "models": models,
    }.items():
        (dags / name).unlink(missing_ok=True)
        (dags / name).symlink_to(target)
    return dags
