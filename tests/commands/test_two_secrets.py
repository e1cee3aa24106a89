"""Two live secrets of one client, so that it changes its own without a moment in which none is right."""

import logging
import re

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from sqlalchemy import func

from crypto.encryption import Cipher
from database.tenancy import HOME
from models import Client, ClientSecretUse, db
from protocol import clock
from services.current import state_of
from services.secret_uses import store_uses
from tests.builders import CLIENT_SECRET, ISSUER, SECRET_KEY, a_client, a_machine, a_public_client, basic
from tests.statements import select

DAY = 86_400
USES = select(ClientSecretUse.number, ClientSecretUse.last_used_at).order_by(ClientSecretUse.number)
METHODS = ["client_secret_basic", "client_secret_post", "client_secret_jwt"]
SIGNING_SECRET = "s" * 64


@pytest.fixture
def robot(seed):
    """Store the client "robot", which authenticates in a way; the secret that it has."""

    def robot(method="client_secret_basic"):
        if method != "client_secret_jwt":
            seed(a_machine(scope="", token_endpoint_auth_method=method))
            return CLIENT_SECRET
        sealed = Cipher([SECRET_KEY], "client secrets").encrypt(SIGNING_SECRET.encode(), "robot")
        columns = {"client_secret_digest": None, "sealed_client_secret": sealed}
        seed(a_machine(scope="", token_endpoint_auth_method=method, **columns))
        return SIGNING_SECRET

    return robot


@pytest.fixture
def ask(http):
    """Ask for a token with a secret; the status."""

    def ask(secret, method="client_secret_basic"):
        body, auth = {"grant_type": "client_credentials"}, None
        if method == "client_secret_basic":
            auth = ("robot", secret)
        elif method == "client_secret_post":
            body |= {"client_id": "robot", "client_secret": secret}
        else:
            body |= assertion(secret)
        return http.post("/oauth/token", data=body, auth=auth).status_code

    return ask


def assertion(secret):
    now = clock.now()
    said = {
        "iss": "robot",
        "sub": "robot",
        "aud": ISSUER,
        "jti": str(clock.now_in_microseconds()),
        "exp": now + 60,
    }
    return {
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode(
            {"alg": "HS256"}, said, OctKey.import_key(secret), algorithms=["HS256"]
        ),
    }


@pytest.fixture
def rotate(flask_json):
    return lambda *options: flask_json("clients", "rotate-secret", "robot", *options).get("client_secret")


@pytest.mark.threat("T061")
@pytest.mark.parametrize("method", METHODS)
def test_both_are_good_until_the_older_ends(robot, ask, rotate, sleep, method):
    old = robot(method)
    new = rotate("--overlap", "7d")
    assert [ask(secret, method) for secret in (old, new, "x" * 64)] == [200, 200, 401]
    sleep(7 * DAY - 1)
    assert [ask(secret, method) for secret in (old, new)] == [200, 200]
    sleep(1)
    assert [ask(secret, method) for secret in (old, new)] == [401, 200]


@pytest.mark.parametrize("method", METHODS)
def test_now_ends_the_older_and_makes_none(robot, ask, rotate, flask, method):
    old = robot(method)
    new = rotate("--overlap", "12h")
    done = flask("clients", "rotate-secret", "robot", "--now")
    assert (done.exit_code, "ost_cs_" in done.output) == (0, False)
    assert [ask(secret, method) for secret in (old, new)] == [401, 200]


def test_now_never_ends_the_only_one(robot, ask, refused, rotate, sleep):
    """Whoever comes too late, when the overlap is over, must not end what is in use by now."""
    old = robot()
    assert "replaces it at once" in refused("clients", "rotate-secret", "robot", "--now")
    assert ask(old) == 200
    new = rotate("--overlap", "60")
    sleep(60)
    assert "no older one" in refused("clients", "rotate-secret", "robot", "--now")
    assert ask(new) == 200


def test_there_are_never_three(robot, ask, refused, rotate, sleep):
    old = robot()
    new = rotate("--overlap", "60")
    assert "has two secrets already" in refused("clients", "rotate-secret", "robot", "--overlap", "60")
    assert [ask(secret) for secret in (old, new)] == [200, 200]
    sleep(60)
    newest = rotate("--overlap", "60")
    assert [ask(secret) for secret in (old, new, newest)] == [401, 200, 200]


@pytest.mark.parametrize("method", METHODS)
def test_without_an_overlap_all_before_end_at_once(robot, ask, rotate, rows, method):
    old = robot(method)
    new, newest = rotate("--overlap", "60"), rotate()
    assert [ask(secret, method) for secret in (old, new, newest)] == [401, 401, 200]
    ended = (Client.previous_secret_digest, Client.sealed_previous_secret, Client.previous_secret_ends_at)
    assert rows(select(*ended)) == [(None, None, None)]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7d", 7 * DAY), ("12h", 43_200), ("30m", 1800), ("90s", 90), ("3600", 3600), ("366d", 366 * DAY)],
)
def test_how_long_may_be_written_in_units(robot, rotate, rows, sleep, text, seconds):
    robot()
    rotate("--overlap", text)
    assert rows(select(Client.previous_secret_ends_at)) == [(clock.now() + seconds,)]


@pytest.mark.parametrize(
    "options",
    [
        *(
            ("--overlap", text)
            for text in ("0", "-1", "1w", "7 d", "d", "", "1.5h", "367d", "٧d", "9999999999")
        ),
        ("--overlap", "7d", "--now"),
    ],
)
def test_what_is_not_understood_is_a_usage_error(robot, ask, flask, options):
    old = robot()
    done = flask("clients", "rotate-secret", "robot", *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert ask(old) == 200


@pytest.mark.parametrize("option", [("--overlap", "7d"), ("--now",)])
def test_who_has_no_secret_has_none_to_overlap(refused, seed, option):
    seed(a_public_client())
    assert "public client" in refused("clients", "rotate-secret", "spa", *option)


@pytest.mark.parametrize("method", ["client_secret_jwt", "private_key_jwt", "none"])
def test_another_way_of_authentication_ends_both(flask, robot, rotate, rows, method):
    """Where the secret itself could not stay, the older one does not either."""
    robot()
    rotate("--overlap", "7d")
    grants = ("--grant-type", "authorization_code", "--redirect-uri", "https://app.example/cb")
    keys = ("--set", 'jwks_uri="https://app.example/jwks"') if method == "private_key_jwt" else ()
    assert flask("clients", "set", "robot", "--auth-method", method, *grants, *keys).exit_code == 0
    ended = (Client.client_secret_digest, Client.previous_secret_digest, Client.previous_secret_ends_at)
    assert rows(select(*ended)) == [(None, None, None)]


def test_between_basic_and_post_both_stay(flask, robot, ask, rotate):
    old = robot()
    new = rotate("--overlap", "7d")
    assert flask("clients", "set", "robot", "--auth-method", "client_secret_post").exit_code == 0
    assert [ask(secret, "client_secret_post") for secret in (old, new)] == [200, 200]


def test_both_sealed_ones_are_sealed_anew_with_another_secret_key(
    app, robot, rotate, flask_json, monkeypatch
):
    from pydantic import SecretStr

    from app import create_app

    robot("client_secret_jwt")
    rotate("--overlap", "7d")
    with app.app_context():
        keyring = state_of(app).home.keyring
        settings = state_of(app).settings
        client = db.session.get(Client, (HOME, "robot"))
        boxes = [client.sealed_client_secret, client.sealed_previous_secret]
        assert [keyring.client_secrets.is_current(box, "robot") for box in boxes] == [True, True]
        renewed = settings.model_copy(
            update={"secret_key": SecretStr("n" * 32), "old_secret_keys": (SecretStr(SECRET_KEY),)}
        )
        vault = state_of(create_app(renewed)).home.keyring.client_secrets
        monkeypatch.setattr(keyring, "client_secrets", vault)
    flask_json("keys", "rewrap")
    with app.app_context():
        client = db.session.get(Client, (HOME, "robot"))
        boxes = [client.sealed_client_secret, client.sealed_previous_secret]
        assert [vault.is_current(box, "robot") for box in boxes] == [True, True]


# ---- when each was last in use -----------------------------------------------------------------------------


@pytest.fixture
def note(app):
    """What the courier does in a process that serves."""
    return lambda: store_uses(app, state_of(app).secret_uses, state_of(app).tenants.entered)


@pytest.mark.parametrize("method", METHODS)
def test_each_is_shown_with_its_age_and_its_last_use(
    robot, ask, rotate, note, flask, flask_json, sleep, method
):
    old = robot(method)
    started_at = clock.now()
    sleep(100)
    new = rotate("--overlap", "7d")
    shown = flask_json("clients", "show", "robot")["client_secrets"]
    assert shown == [
        {"number": 2, "made_at": started_at + 100, "last_used_at": None, "ends_at": None},
        {"number": 1, "made_at": None, "last_used_at": None, "ends_at": started_at + 100 + 7 * DAY},
    ]
    sleep(100)
    ask(old, method)
    note()
    sleep(100)
    ask(new, method)
    ask("x" * 64, method)
    note()
    shown = flask_json("clients", "show", "robot")
    assert [secret["last_used_at"] for secret in shown["client_secrets"]] == [
        started_at + 300,
        started_at + 200,
    ]
    text = flask("clients", "show", "robot").stdout
    assert re.search(
        r"^client secret 1 +made before that was noted, last used 2.*, ends 2", text, re.MULTILINE
    )
    assert re.search(r"^client secret 2 +made 2.*, last used 2.*Z$", text, re.MULTILINE)
    assert not any(secret in text for secret in (old, new))
    sleep(7 * DAY)
    [left] = flask_json("clients", "show", "robot")["client_secrets"]
    assert left["number"] == 2


def test_a_use_is_stored_once_an_hour_whatever_the_number_of_processes(
    app, robot, ask, note, statements, rows, sleep
):
    robot()
    for expected in (0, 0):
        statements.clear()
        assert ask(CLIENT_SECRET) == 200
        assert sum("client_secret_use" in sql for sql in statements) == expected
    note()
    first = rows(USES)
    assert [number for number, _at in first] == [1]
    sleep(3_599)
    state_of(app).secret_uses.forget((HOME, "robot", 1))  # another process knows nothing of it
    ask(CLIENT_SECRET)
    note()
    assert rows(USES) == first
    sleep(1)
    state_of(app).secret_uses.forget((HOME, "robot", 1))
    ask(CLIENT_SECRET)
    note()
    assert rows(USES) == [(1, clock.now())]


def test_of_each_client_two_are_kept(robot, ask, rotate, note, rows, sleep):
    secret = robot()
    for _time in range(4):
        ask(secret)
        note()
        secret = rotate("--overlap", "60")
        sleep(60)
    assert [number for number, _at in rows(USES)] == [4]
    ask(secret)
    note()
    assert [number for number, _at in rows(USES)] == [4, 5]
    rotate()
    assert rows(select(func.count()).select_from(ClientSecretUse)) == [(0,)]


def test_a_client_that_was_removed_meanwhile(app, robot, ask, flask, note, rows, caplog):
    robot()
    ask(CLIENT_SECRET)
    assert flask("clients", "remove", "robot").exit_code == 0
    note()
    assert rows(USES) == []
    assert caplog.records == [] or "could not be stored" not in caplog.text


def test_a_use_that_cannot_be_stored_is_noted_at_the_next(app, robot, ask, note, rows, caplog, monkeypatch):
    def fail(*rest):
        raise OSError

    robot()
    ask(CLIENT_SECRET)
    with monkeypatch.context() as broken:
        broken.setattr("store.client_secrets.note_use", fail)
        note()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "the use of a client's secret could not be stored: reason=OSError"
    ]
    ask(CLIENT_SECRET)
    note()
    assert [number for number, _at in rows(USES)] == [1]


def test_strangers_leave_nothing(app, robot, ask, seed, http):
    seed(a_client())
    robot()
    ask("wrong")
    http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=basic("nobody"))
    assert state_of(app).secret_uses.take() == {}


def test_what_is_remembered_has_an_end(app, monkeypatch):
    monkeypatch.setattr("services.secret_uses.MAXIMUM_KNOWN", 10)
    uses = state_of(app).secret_uses
    for number in range(100):
        uses.note("web", number)
        uses.take()
    assert len(uses._noted_at) <= 10
