"""`flask config check`: a verdict, and never a secret."""

import json

import pytest

from app import create_app
from config import Settings
from models import db
from tests.builders import ISSUER, SECRET_KEY
from tests.statements import text


def check(settings, *options):
    """Run it on an app with these settings."""
    app = create_app(settings)
    done = app.test_cli_runner().invoke(args=["config", "check", *options], catch_exceptions=False)
    with app.app_context():
        db.engine.dispose()
    return done


def test_everything_is_well(flask, flask_json, settings):
    verdict = flask_json("config", "check")
    assert (verdict["ok"], verdict["problems"]) == (True, [])
    assert verdict["database"] == {"reachable": True, "migrated": True}
    assert verdict["settings"].keys() == Settings.model_fields.keys()
    expected = {"issuer": ISSUER, "signup": "closed", "access_token_lifetime": 600, "max_sessions": 1}
    assert {name: verdict["settings"][name] for name in expected} == expected
    done = flask("config", "check")
    assert done.exit_code == 0
    assert ISSUER in done.stdout
    assert "No problem found." in done.stderr


@pytest.mark.parametrize("options", [(), ("--json",)])
@pytest.mark.parametrize(
    "database_url",
    [
        "postgresql://owner:the-password@127.0.0.1:1/ostiary",
        "postgresql://owner@127.0.0.1:1/ostiary?password=the-password",
    ],
)
def test_no_secret_is_shown(database_url, options):
    """Port 1 of loopback: nobody listens there."""
    old_keys = ["old-key-" + "o" * 32]
    done = check(
        Settings(issuer=ISSUER, database_url=database_url, secret_key=SECRET_KEY, old_secret_keys=old_keys),
        *options,
    )
    assert "127.0.0.1" in done.stdout
    assert not [secret for secret in ("the-password", SECRET_KEY, "old-key-") if secret in done.output]


def test_a_database_that_is_away_is_a_problem():
    done = check(
        Settings(issuer=ISSUER, database_url="postgresql://127.0.0.1:1/ostiary", secret_key=SECRET_KEY),
        "--json",
    )
    assert done.exit_code == 1
    verdict = json.loads(done.stdout)
    assert (verdict["ok"], verdict["database"]) == (False, {"reachable": False, "migrated": False})
    assert "cannot be used" in verdict["problems"][0]
    assert f"Problem: {verdict['problems'][0]}" in done.stderr


def test_a_database_that_is_not_migrated_is_a_problem(tmp_path):
    url = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    done = check(Settings(issuer=ISSUER, database_url=url, secret_key=SECRET_KEY), "--json")
    assert done.exit_code == 1
    verdict = json.loads(done.stdout)
    assert verdict["database"] == {"reachable": True, "migrated": False}
    assert ".venv/bin/flask db upgrade" in done.stderr


def test_a_database_that_was_migrated_down_is_a_problem(app, flask, rows):
    with app.app_context():
        db.session.execute(text("DELETE FROM alembic_version"))
        db.session.commit()
    done = flask("config", "check")
    assert done.exit_code == 1
    assert ".venv/bin/flask db upgrade" in done.stderr


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"issuer": "http://127.0.0.1:8000"}, "for development"),
        ({"signup": "open"}, "OSTIARY_SIGNUP"),
        ({}, "OSTIARY_TRUSTED_PROXIES is not set"),
        ({"trusted_proxies": "127.0.0.1,::/0"}, "OSTIARY_TRUSTED_PROXIES names every address"),
        ({"access_token_lifetime": 3601}, "OSTIARY_ACCESS_TOKEN_LIFETIME"),
        (
            {"refresh_token_idle_lifetime": 100, "refresh_token_lifetime": 99},
            "OSTIARY_REFRESH_TOKEN_IDLE_LIFETIME",
        ),
        ({"refresh_leeway": 0, "refresh_retry_lifetime": 0}, "OSTIARY_REFRESH_LEEWAY"),
        ({"public_refresh_leeway": 0}, "OSTIARY_PUBLIC_REFRESH_LEEWAY is 0"),
        ({"public_refresh_leeway": 61}, "OSTIARY_PUBLIC_REFRESH_LEEWAY is more"),
        ({"old_secret_keys": ["o" * 32]}, "OSTIARY_OLD_SECRET_KEYS"),
    ],
)
def test_what_may_not_have_been_meant_is_a_warning(settings, changed, words):
    done = check(Settings(**{**settings.model_dump(), **changed}), "--json")
    assert done.exit_code == 0
    assert [warning for warning in json.loads(done.stdout)["warnings"] if words in warning]
    assert [line for line in done.stderr.splitlines() if line.startswith("Warning: ") and words in line]


def test_a_careful_production_has_no_warning(settings):
    done = check(Settings(**{**settings.model_dump(), "trusted_proxies": ["10.0.0.0/8"]}), "--json")
    assert json.loads(done.stdout)["warnings"] == []
    assert json.loads(done.stdout)["settings"]["trusted_proxies"] == ["10.0.0.0/8"]


def test_a_misspelt_variable_is_a_warning(flask_json, monkeypatch):
    monkeypatch.setenv("OSTIARY_MAX_SESSION", "the-value")
    [warning] = [text for text in flask_json("config", "check")["warnings"] if "MAX_SESSION" in text]
    assert warning == "OSTIARY_MAX_SESSION is no setting of this version"


def test_fractions_of_a_second_are_told(settings):
    done = check(Settings(**{**settings.model_dump(), "refresh_leeway": 0.5}), "--json")
    assert json.loads(done.stdout)["settings"]["refresh_leeway"] == 0.5
