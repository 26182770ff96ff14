"""What the wheel holds: the four services, and the files that `retrain init` copies.

pyproject.toml has everything else. It cannot name a package whose files stand in this folder.
"""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["retrain*", "promote*", "serving*", "client_api*"]),
        "ratchet_template",
    ],
    package_dir={"ratchet_template": "."},
    package_data={
        "ratchet_template": [
            ".github/gate.py",
            ".github/workflows/gate.yaml",
            "gitops/clusters/**/*.yaml",
            "gitops/models/base/*.yaml",
            "gitops/models/release/*.yaml",
            "gitops/platform/**/*.yaml",
        ]
    },
)
