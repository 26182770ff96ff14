"""What the wheel holds: the four services, the laptop, and the files that they copy or run.

pyproject.toml has everything else. It cannot name a package whose files stand in this folder.
"""

from setuptools import find_packages, setup

LAPTOP = ["infra", "infra.local", "infra.local.cluster", "infra.local.forge", "infra.local.stack"]
FILES = [
    ".github/gate.py",
    ".github/workflows/gate.yaml",
    "dags/.airflowignore",
    "dags/*.py",
    "dags/ratchet_tasks/*.py",
    "gitops/clusters/**/*.yaml",
    "gitops/models/base/*.yaml",
    "gitops/models/release/*.yaml",
    "gitops/platform/**/*.yaml",
    "infra/aws/ruleset.json",
    "infra/images/airflow/*.py",
    "infra/locks/retrain.txt",
]

setup(
    packages=[
        *find_packages(include=["retrain*", "promote*", "serving*", "client_api*", *LAPTOP]),
        "ratchet_template",
    ],
    package_dir={"ratchet_template": "."},
    package_data={"infra.local.forge": ["templates/*"], "ratchet_template": FILES},
)
