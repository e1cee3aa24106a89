"""The application as a whole: it starts, it tells that it lives, and it refuses to start wrongly."""

import logging

import pytest

from app import create_app
from config import Settings
from errors import ConfigError
from tests.builders import ISSUER, SECRET_KEY, a_user


def test_it_lives_on_any_host(http):
    answer = http.get("/healthz", headers={"Host": "10.0.0.7"})
    assert (answer.status_code, answer.text) == (200, "ok\n")


def test_it_is_not_ready_before_it_is_migrated(http):
    assert http.get("/readyz").status_code == 503


@pytest.mark.threat("T160")
def test_it_answers_for_its_own_host_only(http):
    answer = http.get("/", headers={"Host": "evil.example"})
    assert answer.status_code == 400
    assert "evil" not in answer.text


def test_a_loopback_issuer_serves_this_machine_only(settings):
    development = settings.model_copy(update={"issuer": "http://127.0.0.1:8000"})
    http = create_app(development).test_client()

    def status(**environ):
        return http.get("/login", base_url=development.issuer, environ_overrides=environ).status_code

    assert status() == status(REMOTE_ADDR="::1") == status(REMOTE_ADDR="") == 200
    assert status(REMOTE_ADDR="192.0.2.1") == 400
    assert status(HTTP_X_FORWARDED_FOR="192.0.2.1") == 400


@pytest.mark.threat("T161")
@pytest.mark.parametrize(
    "cookie",
    [
        "remember_token=1|\u00e9",
        "remember_token=1|x",
        "__Host-ostiary=\u00e9",
        "__Host-ostiary=x; __Host-ostiary=y",
        "=",
        ";;",
    ],
)
@pytest.mark.parametrize("path", ["/", "/login", "/nowhere", "/oauth/authorize", "/api/me"])
def test_no_cookie_makes_a_5xx(http, path, cookie):
    assert http.get(path, headers={"Cookie": cookie}).status_code < 500


def test_error_pages_ask_nothing_of_the_database(http, seed, app, statements):
    """Not even who is signed in: one of them says that the database is away."""
    seed(a_user())
    with http.session_transaction(base_url=ISSUER) as session:
        session["_user_id"] = "somebody's session"
    statements.clear()
    assert http.get("/nowhere").status_code == 404
    assert statements == []


def test_in_memory_sqlite_is_refused_under_a_server(monkeypatch):
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
    with pytest.raises(ConfigError, match="in-memory"):
        create_app(Settings(issuer=ISSUER, database_url="sqlite://", secret_key=SECRET_KEY))


def test_the_development_server_logs_no_query(app, caplog):
    """Werkzeug logs whole request lines: they hold codes, tickets and states."""
    with caplog.at_level("INFO", "werkzeug"):
        line = '"GET /demo?code=SECRET&state=SECRET HTTP/1.1" 200 -'
        logging.getLogger("werkzeug").info("%s - - [%s] %s\n", "127.0.0.1", "21/Nov/2026", line)
    assert '"GET /demo HTTP/1.1" 200 -' in caplog.text
    assert "SECRET" not in caplog.text
