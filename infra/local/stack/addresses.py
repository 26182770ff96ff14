"""Prints where everything is."""

from __future__ import annotations

from infra.local.stack.laptop import Laptop
from infra.local.stack.reviewer import REPOSITORY
from infra.local.stack.terminal import say


def say_addresses(laptop: Laptop) -> None:
    """Print the pages of a stack that was started."""
    airflow = laptop.airflow.url if laptop.airflow else ""
    # without the parameter MLflow opens its page for language models
    mlflow = f"{laptop.mlflow_url}/#/experiments?workflowType=machine_learning"
    pulls = f"{laptop.forge_url}/{REPOSITORY}/pulls"
    say(f"   Airflow {airflow}   MLflow {mlflow}   pull requests {pulls}")
    promotions, gateway = f"{laptop.promote_url}/promotions", f"{laptop.gateway_url}/docs"
    say(f"   promotions {promotions}   cluster {laptop.cluster_url}   gateway {gateway}")
