"""What a window's run leaves in MLflow.

MLflow reads its client's settings from the environment, and one of them when MLflow is imported.
So this file sets them before any file of the room imports MLflow.
"""

import os

CLIENT_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",  # seconds; MLflow's default is 120
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # MLflow's 7 retries take four minutes
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # our commands write to stdout and stderr
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""A value that the operator set in the environment stays.

The waits are short because Airflow and promote's next pass try again anyway.
"""

for _name, _value in CLIENT_SETTINGS.items():
    os.environ.setdefault(_name, _value)
