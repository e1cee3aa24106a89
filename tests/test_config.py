"""The settings: defaults, the three that development makes up, and every problem told at once without a
value.
"""

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from config import Settings
from environment import secret_files
from errors import ConfigError

GOOD = {"issuer": "https://op.example", "database_url": "sqlite://", "secret_key": "k" * 32}


def test_defaults_are_those_of_the_contract():
    settings = Settings(**GOOD)
    assert settings.access_token_lifetime == timedelta(minutes=10)
    assert settings.authorization_code_lifetime == timedelta(seconds=60)
    assert settings.refresh_token_idle_lifetime == timedelta(days=30)
    assert settings.refresh_token_lifetime == timedelta(days=365)
    assert settings.refresh_leeway == timedelta(seconds=10)
    assert settings.public_refresh_leeway == timedelta(seconds=30)
    assert settings.refresh_retry_lifetime == timedelta(hours=24)
    assert settings.max_sessions == 1
    assert settings.signup == "closed"
    assert settings.trusted_proxies == ()


@pytest.mark.parametrize("scheme", ["mariadb", "mysql", "mysql+pymysql", "mariadb+pymysql"])
def test_mariadb_has_one_driver(scheme):
    settings = Settings(**GOOD | {"database_url": f"{scheme}://u:p@db.example/ostiary?charset=utf8mb4"})
    assert settings.database_url == "mariadb+pymysql://u:p@db.example/ostiary?charset=utf8mb4"


def test_the_environment_is_read(monkeypatch):
    for name, value in {
        "ISSUER": "https://op.example",
        "DATABASE_URL": "postgresql://u:p@db.example/ostiary",
        "SECRET_KEY": "k" * 32,
        "OLD_SECRET_KEYS": f"{'o' * 32}, {'p' * 32}",
        "REFRESH_LEEWAY": "0",
        "ACCESS_TOKEN_LIFETIME": "300",
        "TRUSTED_PROXIES": "10.0.0.0/8,127.0.0.1",
    }.items():
        monkeypatch.setenv(f"OSTIARY_{name}", value)
    settings = Settings()
    assert settings.database_url == "postgresql+psycopg://u:p@db.example/ostiary"
    assert [key.get_secret_value() for key in settings.old_secret_keys] == ["o" * 32, "p" * 32]
    assert settings.refresh_leeway == timedelta(0)
    assert settings.access_token_lifetime == timedelta(minutes=5)
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "127.0.0.1/32"]


@pytest.mark.parametrize(
    ("text", "schemes"),
    [("", ()), ("claude  raycast", ("claude", "raycast")), ("Claude, raycast,", ("claude", "raycast"))],
)
def test_private_use_schemes_are_separated_by_blanks(monkeypatch, text, schemes):
    assert Settings(**GOOD).redirect_schemes == ("cursor", "vscode", "vscode-insiders")
    monkeypatch.setenv("OSTIARY_REDIRECT_SCHEMES", text)
    assert Settings(**GOOD).redirect_schemes == schemes


def test_the_default_issuer_follows_the_port(monkeypatch):
    monkeypatch.setenv("PORT", "8123")
    settings = Settings(secret_key="k" * 32)
    assert settings.issuer == "http://127.0.0.1:8123"
    assert settings.database_url.startswith("sqlite:////")
    assert settings.signup == "open"
    assert settings.is_development


def test_production_says_everything_that_is_missing():
    with pytest.raises(ConfigError) as caught:
        Settings(issuer="https://op.example")
    assert [problem.split()[0] for problem in caught.value.problems] == [
        "OSTIARY_DATABASE_URL",
        "OSTIARY_SECRET_KEY",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("issuer", "https://op.example/"),
        ("issuer", "http://op.example"),
        ("issuer", "https://op.example?x=1"),
        ("issuer", "https://op.example#x"),
        ("issuer", "https://user@op.example"),
        ("issuer", "op.example"),
        ("issuer", "https://op.example/tenant/"),
        ("issuer", "https://op.example/%74enant"),
        ("issuer", "http://127.0.0.1.evil.example"),
        ("issuer", "https://OP.example"),
        ("issuer", "https://op.example:443"),
        ("issuer", "http://127.0.0.1:80"),
        ("issuer", "https://op.example:99999"),
        ("issuer", "https://op.example:abc"),
        ("issuer", "https://bücher.example"),
        ("issuer", "https://op .example"),
        ("issuer", "https://op.example\n"),
        ("issuer", "https://op.example/\u2100"),
        ("database_url", "sqlite:///file::memory:?uri=true"),
        ("old_secret_keys", "a"),
        ("refresh_leeway", "inf"),
        ("refresh_leeway", "nan"),
        ("refresh_leeway", "1e300"),
        ("refresh_leeway", "100000000000000"),
        ("database_url", "postgresql://host/db?prepare_threshold=5"),
        ("database_url", "not a url"),
        ("database_url", "oracle://x/y"),
        ("database_url", "postgresql://owner:pass@host:x1y2z3/db"),
        ("database_url", "postgresql+asyncpg://host/db"),
        ("database_url", "mysql+mysqldb://host/db"),
        ("secret_key", "short"),
        ("access_token_lifetime", "0"),
        ("access_token_lifetime", "soon"),
        ("authorization_code_lifetime", "601"),
        ("refresh_leeway", "-1"),
        ("max_sessions", "0"),
        ("signup", "maybe"),
        ("trusted_proxies", "proxy.example"),
        ("redirect_schemes", "cursor javascript"),
        ("redirect_schemes", "Data"),
        ("redirect_schemes", "https"),
        ("redirect_schemes", "cursor://"),
    ],
)
def test_a_wrong_value_is_named_and_not_printed(name, value):
    with pytest.raises(ConfigError) as caught:
        Settings(**GOOD | {name: value})
    assert f"OSTIARY_{name.upper()}" in str(caught.value)
    if len(value) > 6:
        assert value not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("access_token_lifetime", 0, "should be greater than or equal to 1"),
        ("authorization_code_lifetime", 601, "should be less than or equal to 600"),
        ("id_token_lifetime", 90_000, "should be less than or equal to 86400"),
        ("refresh_leeway", -1, "should be greater than or equal to 0"),
    ],
)
def test_a_limit_is_told_in_seconds(name, value, words):
    with pytest.raises(ConfigError) as caught:
        Settings(issuer="https://op.example", database_url="sqlite://", secret_key="k" * 32, **{name: value})
    assert caught.value.problems == [f"OSTIARY_{name.upper()} {words}"]


def test_all_problems_are_told_together():
    with pytest.raises(ConfigError) as caught:
        Settings(issuer="http://op.example", database_url="x", secret_key="s", max_sessions=0)
    assert len(caught.value.problems) == 4


def test_settings_are_frozen_and_hide_their_secrets():
    settings = Settings(**GOOD)
    with pytest.raises(ValueError, match="frozen"):
        settings.max_sessions = 2
    assert "k" * 32 not in repr(settings)
    assert "pass-word" not in repr(Settings(**GOOD | {"database_url": "postgresql://u:pass-word@h/d"}))


def test_a_development_key_is_made_once_and_is_private(tmp_path):
    path = tmp_path / "new" / "secret_key"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(secret_files.development_secret_key, [path] * 8))
    assert len(keys) == 1
    assert len(keys.pop()) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
