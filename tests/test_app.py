"""The application as a whole: it starts, it tells that it lives, and it refuses to start wrongly."""

import pytest

from app import create_app
from config import Settings
from errors import ConfigError
from tests.builders import ISSUER, SECRET_KEY


def test_it_lives_on_any_host(http):
    answer = http.get("/healthz", headers={"Host": "10.0.0.7"})
    assert (answer.status_code, answer.text) == (200, "ok\n")


def test_it_is_not_ready_before_it_is_migrated(http):
    assert http.get("/readyz").status_code == 503


def test_it_answers_for_its_own_host_only(http):
    answer = http.get("/", headers={"Host": "evil.example"})
    assert answer.status_code == 400
    assert "evil" not in answer.text


def test_in_memory_sqlite_is_refused_under_a_server(monkeypatch):
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
    with pytest.raises(ConfigError, match="in-memory"):
        create_app(Settings(issuer=ISSUER, database_url="sqlite://", secret_key=SECRET_KEY))
