"""`/oauth/jwks` and the keys behind it: announced, active, retired by the clock, the same on every node (RFC
7517 §5).
"""

import json
import time

import pytest
from flask import g
from joserfc.jwk import KeySet
from sqlalchemy import func

import errors
from app import create_app
from config import Settings
from crypto import jwt, key_schedule
from models import Scope, SigningKey, db
from protocol import clock
from services import signing_keys
from services.current import state_of
from services.signing_keys import Keyring
from tests.builders import ISSUER, SECRET_KEY
from tests.statements import insert, select
from unit_of_work import transaction

DAY = 24 * 3600
LIFETIME, CACHE = 90 * DAY, 300
ANNOUNCEMENT, FAREWELL = CACHE + 60, DAY + 30
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


def keys(http):
    return http.get("/oauth/jwks").json["keys"]


def kids(http, alg="ES256"):
    return [key["kid"] for key in keys(http) if key["alg"] == alg]


@pytest.fixture
def node(app, monkeypatch):
    """A second node on the same database.

    Both read the rows afresh each time that the test moves the clock.
    """
    monkeypatch.setattr(signing_keys, "REREAD_INTERVAL", key_schedule.timedelta(0))
    return Keyring(state_of(app).settings)


@pytest.fixture
def sign(app, node):
    """Sign with either node; returns the `kid`."""

    def sign(ring=None, alg="ES256"):
        with app.app_context(), transaction():
            ring = ring or state_of(app).home.keyring
            return jwt.read_header(ring.sign({"iss": ISSUER}, alg))["kid"]

    return sign


@pytest.mark.usual_price
@pytest.mark.threat("T137")
def test_keys_have_their_public_members_only(http):
    found = keys(http)
    assert {key["alg"] for key in found} == {"RS256", "ES256", "EdDSA"}
    for key in found:
        assert not PRIVATE_MEMBERS & set(key) and key["use"] == "sig" and key["kty"] != "oct"
    assert len(KeySet.import_key_set({"keys": found}).keys) == 3
    (rsa,) = [key for key in found if key["kty"] == "RSA"]
    assert len(rsa["n"]) >= 342  # 2048 bits in base64url


@pytest.mark.threat("T137")
def test_it_may_be_cached_and_read_by_every_page(http):
    first, second = http.get("/oauth/jwks"), http.get("/oauth/jwks")
    assert first.headers["Cache-Control"] == f"public, max-age={CACHE}"
    assert first.headers["Access-Control-Allow-Origin"] == "*"
    assert first.mimetype == "application/jwk-set+json"
    assert first.json == second.json
    assert "Set-Cookie" not in first.headers


@pytest.mark.threat("T137")
def test_what_is_stored_opens_nothing(http, rows):
    http.get("/oauth/jwks")
    for public_jwk, sealed in rows(select(SigningKey.public_jwk, SigningKey.sealed_private_key)):
        assert not PRIVATE_MEMBERS & set(public_jwk)
        assert b'"d"' not in sealed and len(sealed) > 100


# ---- rotation ----------------------------------------------------------------------------------------------


@pytest.mark.threat("T136")
def test_a_key_is_announced_signs_and_retires_by_itself(http, sign, node, sleep):
    """Two nodes, nobody tells either anything: they agree at each moment."""
    (first,) = kids(http)
    assert sign() == sign(node) == first
    sleep(LIFETIME - ANNOUNCEMENT - 1)
    assert kids(http) == [first]
    sleep(1)
    _, second = kids(http)
    assert sign() == sign(node) == first
    sleep(ANNOUNCEMENT - 1)
    assert sign() == sign(node) == first and kids(http) == [first, second]
    sleep(1)
    assert sign() == sign(node) == second and kids(http) == [first, second]
    sleep(FAREWELL - 1)
    assert kids(http) == [first, second]
    sleep(1)
    assert kids(http) == [second] and sign() == sign(node) == second


@pytest.mark.threat("T136")
def test_a_cached_copy_is_never_too_old(http, sign, sleep):
    """A verifier that keeps the JWKS for the stated time meets no unknown `kid`, whenever it asks, over three
    rotations.
    """
    fetched_at, copy = clock.now(), kids(http)
    for _ in range(0, 3 * LIFETIME, 3 * DAY):
        for step in (3 * DAY - CACHE, CACHE):
            sleep(step)
            if clock.now() - fetched_at > CACHE:
                fetched_at, copy = clock.now(), kids(http)
            assert sign() in copy


@pytest.mark.threat("T136")
def test_a_server_that_nobody_asked_for_a_year(http, sign, sleep):
    """The key goes on signing until the next one has been announced for long enough."""
    first = sign()
    sleep(365 * DAY)
    assert sign() == first
    assert len(kids(http)) == 2
    sleep(ANNOUNCEMENT)
    assert sign() == kids(http)[-1] != first


@pytest.mark.threat("T136")
def test_what_it_signed_verifies_to_its_end(app, http, node, sign, sleep):
    with app.app_context(), transaction():
        token = node.sign({"iss": ISSUER, "sub": "ada"}, "RS256")
    sleep(LIFETIME)
    sign(alg="RS256")
    sleep(ANNOUNCEMENT + DAY)
    with app.app_context(), transaction():
        assert node.read_own(token, {"jwt"})["sub"] == "ada"
    assert jwt.read_header(token)["kid"] in kids(http, "RS256")


def test_keys_do_not_pile_up(http, sleep, rows):
    for _ in range(12):
        http.get("/oauth/jwks")
        sleep(LIFETIME)
    assert rows(select(func.count()).select_from(SigningKey)) <= [(3 * 3,)]


# ---- races, failures, other secrets ------------------------------------------------------------------------


def test_a_key_whose_request_was_refused_is_forgotten(app, node, rows):
    with app.app_context():
        node.sign({"iss": ISSUER}, "ES256")
        db.session.rollback()
    assert rows(select(SigningKey.kid)) == []
    with app.app_context(), transaction():
        kid = jwt.read_header(node.sign({"iss": ISSUER}, "ES256"))["kid"]
    assert (kid,) in rows(select(SigningKey.kid))


def test_who_loses_the_race_to_make_the_first_takes_the_others(app, node, rows):
    """What a node has read before the rival's commit is not what its second try starts from."""
    rival = Keyring(state_of(app).settings)
    with app.app_context():
        node.rows()
        db.session.rollback()
        g.pop("signing_keys")
        with transaction():
            rival.rows()
        g.pop("signing_keys")
        assert {row.kid for row in node.rows()} == {row.kid for row in rival.rows()}
    assert len(rows(select(SigningKey.kid))) == 3


@pytest.mark.threat("T136")
def test_the_secret_key_can_be_changed(app, node, sign):
    before = sign()
    database_url = state_of(app).settings.database_url
    known = Settings(
        issuer=ISSUER, database_url=database_url, secret_key="n" * 32, old_secret_keys=SECRET_KEY
    )
    assert sign(Keyring(known)) == before


def test_a_secret_key_that_nobody_knows_any_more(app, http, sign):
    """Nothing that was signed is lost, and what is signed from now on verifies."""
    before = sign()
    database_url = state_of(app).settings.database_url
    stranger = Keyring(Settings(issuer=ISSUER, database_url=database_url, secret_key="n" * 32))
    after = sign(stranger)
    assert after != before
    assert {before, after} <= set(kids(http))
    assert sign(stranger) == after and sign() == before  # they do not fight


def test_what_another_server_signed_is_not_ours(app, node):
    with app.app_context(), transaction():
        token = node.sign({"iss": "https://evil.example"}, "ES256")
        with pytest.raises(errors.InvalidJwtError):
            node.read_own(token, {"jwt"})


def test_an_announced_key_needs_time_to_sign():
    with pytest.raises(Exception, match="OSTIARY_SIGNING_KEY_LIFETIME"):
        Settings(issuer=ISSUER, database_url="sqlite://", secret_key=SECRET_KEY, signing_key_lifetime=600)


def test_parsing_is_paid_once(app, node, sign):
    """Importing an RSA key costs some 30 ms; a signature costs less than one."""
    sign(node, "RS256")
    begin = time.process_time()
    for _ in range(20):
        sign(node, "RS256")
    assert (time.process_time() - begin) / 20 < 0.02


def test_another_app_has_keys_of_its_own():
    app = create_app(Settings(issuer=ISSUER, database_url="sqlite://", secret_key=SECRET_KEY))
    with app.app_context():
        db.create_all()
        with transaction():
            assert json.dumps(state_of(app).home.keyring.jwks())
        db.engine.dispose()


def test_a_bug_is_no_database_that_is_away(http, monkeypatch, caplog):
    def all_keys():
        return db.session.execute(insert(Scope), {"name": "new", "description": None})

    monkeypatch.setattr("store.signing_keys.all_keys", all_keys)
    answer = http.get("/oauth/jwks")
    assert (answer.status_code, answer.json["error"]) == (500, "server_error")
    assert "bug: IntegrityError" in caplog.text
