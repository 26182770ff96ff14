import pytest
from pydantic import ValidationError

from retrain.settings import Settings


def test_settings_come_from_the_environment_with_their_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRAIN_SOURCES", '{"warehouse": "duckdb:///w.duckdb"}')
    monkeypatch.setenv("RETRAIN_WORKERS", "3")
    settings = Settings()
    assert settings.sources == {"warehouse": "duckdb:///w.duckdb"}
    assert settings.workers == 3


def test_all_wrong_settings_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRAIN_WORKERS", "0")
    monkeypatch.setenv("RETRAIN_SOURCES", '{"warehouse": 3}')
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert {error["loc"][0] for error in caught.value.errors()} == {"workers", "sources"}


def test_settings_do_not_change_while_a_run_goes_on() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().workers = 5  # type: ignore[misc]  # that is the point
