"""The server's settings are checked at once, at start."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from retrain.contract import digest_of_bytes
from serving.settings import Settings


def test_placeholders_that_no_release_replaced_are_refused_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SERVING_MODEL_DIGEST", "unset")
    monkeypatch.setenv("SERVING_VERSION", "unset")
    monkeypatch.delenv("SERVING_IMAGE_DIGEST", raising=False)
    with pytest.raises(ValidationError) as refusal:
        Settings()
    assert sorted(str(error["loc"][0]) for error in refusal.value.errors()) == [
        "image_digest",
        "model_digest",
        "version",
    ]


def test_a_release_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVING_MODEL_DIGEST", digest_of_bytes(b"model"))
    monkeypatch.setenv("SERVING_VERSION", "8")
    monkeypatch.setenv("SERVING_IMAGE_DIGEST", digest_of_bytes(b"image"))
    assert (Settings().version, str(Settings().model_folder)) == (8, "/model")
