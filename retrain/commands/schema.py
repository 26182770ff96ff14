"""`retrain schema`: the JSON Schema of a model's YAML."""

from __future__ import annotations

import json

from retrain.spec.model_file import published_schema


def print_schema() -> None:
    """Print the schema."""
    print(json.dumps(published_schema(), indent=2, ensure_ascii=False))
