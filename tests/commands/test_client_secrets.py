"""What a client proves itself with: a secret as a digest, a secret sealed, or keys of its own."""

import json
import re

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from crypto.credentials import digest
from crypto.encryption import Cipher
from models import Client
from protocol import clock
from tests.builders import CLIENT_SECRET, ISSUER, REDIRECT_URI, SECRET_KEY, a_client, a_public_client
from tests.statements import select

WEB = ("--redirect-uri", REDIRECT_URI)
PRIVATE_KEY = ECKey.generate_key("P-256")
MEMBERS = ("--set", f"jwks={json.dumps({'keys': [PRIVATE_KEY.as_dict(private=False)]})}")
SIGNS = ("--auth-method", "private_key_jwt", *MEMBERS)
SIGNS_SECRET = ("--auth-method", "client_secret_jwt")
SECRETS = select(Client.client_secret_digest, Client.sealed_client_secret)
KEY = re.compile(r"ost_cs_[A-Za-z0-9_-]{86}")
VAULT = Cipher([SECRET_KEY], "client secrets")


def opened(rows):
    """The one client's sealed secret; its digest must not be there beside it."""
    [(client_id, client_secret_digest, box)] = rows(select(Client.client_id, *SECRETS.selected_columns))
    assert client_secret_digest is None
    return VAULT.decrypt(box, client_id).decode()


@pytest.mark.threat("T061", "T130", "T155")
def test_a_secret_that_is_a_key_is_long_and_sealed(flask, flask_json, rows):
    added = flask_json("clients", "add", "Web", *WEB, *SIGNS_SECRET)
    assert KEY.fullmatch(added["client_secret"])
    assert opened(rows) == added["client_secret"]
    assert not KEY.search(flask("clients", "show", added["client_id"]).output)
    assert not KEY.search(flask("clients", "list", "--json").output)


def test_a_client_with_keys_of_its_own_has_no_secret(flask, rows):
    done = flask("clients", "add", "Web", *WEB, *SIGNS, "--json")
    assert done.exit_code == 0
    assert "client_secret" not in json.loads(done.stdout)
    assert "Keep the client secret" not in done.stderr
    assert rows(SECRETS) == [(None, None)]


@pytest.mark.parametrize(
    ("options", "alg"), [(SIGNS, "ES256"), (SIGNS_SECRET, "HS256"), (SIGNS_SECRET, "HS512")]
)
def test_who_was_added_gets_tokens(flask, flask_json, http, options, alg):
    flask("scopes", "add", "read", "--description", "Read your notes")
    machine = ("--grant-type", "client_credentials", "--scope", "read")
    added = flask_json("clients", "add", "Robot", *machine, *options)
    key = OctKey.import_key(added["client_secret"]) if alg.startswith("HS") else PRIVATE_KEY
    now, client_id = clock.now(), added["client_id"]
    claims = {"iss": client_id, "sub": client_id, "aud": ISSUER, "jti": "1", "iat": now, "exp": now + 60}
    body = {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode({"alg": alg}, claims, key, algorithms=[alg]),
    }
    answer = http.post("/oauth/token", data=body)
    assert (answer.status_code, answer.json.get("scope")) == (200, "read"), answer.json


def test_rotate_secret_seals_the_new_one(flask_json, rows):
    added = flask_json("clients", "add", "Web", *WEB, *SIGNS_SECRET)
    renewed = flask_json("clients", "rotate-secret", added["client_id"])["client_secret"]
    assert renewed != added["client_secret"]
    assert opened(rows) == renewed


HS = 'token_endpoint_auth_signing_alg="HS{}"'


@pytest.mark.threat("T130")
@pytest.mark.parametrize(
    ("octets", "long_enough", "too_long"), [(32, 256, 384), (48, 384, 512), (63, 384, 512)]
)
def test_an_algorithm_that_the_secret_is_too_short_for(
    flask, refused, seed, rows, octets, long_enough, too_long
):
    """RFC 7518 §3.2. The algorithm may change later than the secret."""
    sealed = VAULT.encrypt(b"s" * octets, "web")
    members = {"token_endpoint_auth_method": "client_secret_jwt", "client_secret_digest": None}
    seed(a_client(**members, sealed_client_secret=sealed))
    assert flask("clients", "set", "web", "--set", HS.format(long_enough)).exit_code == 0
    told = refused("clients", "set", "web", "--set", HS.format(too_long))
    assert f"at least {too_long // 8} octets" in told
    assert "rotate-secret web" in told
    assert flask("clients", "rotate-secret", "web").exit_code == 0
    assert flask("clients", "set", "web", "--set", HS.format(too_long)).exit_code == 0
    assert len(opened(rows)) >= 64


def test_a_secret_is_not_too_short_for_who_sends_it(flask, seed):
    """Only where it signs does its length follow the algorithm; a new way of authentication makes a new
    secret.
    """
    seed(a_client())
    assert flask("clients", "set", "web", *SIGNS_SECRET, "--set", HS.format(512)).exit_code == 0


def test_keys_of_its_own_are_not_rotated_here(refused, flask_json, rows):
    added = flask_json("clients", "add", "Web", *WEB, *SIGNS)
    assert "has no secret: it signs with its own keys" in refused(
        "clients", "rotate-secret", added["client_id"]
    )
    assert rows(SECRETS) == [(None, None)]


def test_a_change_between_methods_keeps_the_secret_in_line(flask_json, seed, rows):
    seed(a_client())
    assert "client_secret" not in flask_json("clients", "set", "web", "--auth-method", "client_secret_post")
    assert rows(SECRETS) == [(digest(CLIENT_SECRET), None)]
    key = flask_json("clients", "set", "web", *SIGNS_SECRET)["client_secret"]
    assert opened(rows) == key
    assert "client_secret" not in flask_json("clients", "set", "web", "--name", "New")
    assert opened(rows) == key
    secret = flask_json("clients", "set", "web", "--auth-method", "client_secret_basic")["client_secret"]
    assert (rows(SECRETS), secret != key) == ([(digest(secret), None)], True)
    assert "client_secret" not in flask_json("clients", "set", "web", *SIGNS)
    assert rows(SECRETS) == [(None, None)]
    assert opened_after(flask_json, rows, *SIGNS_SECRET)
    assert "client_secret" not in flask_json("clients", "set", "web", "--auth-method", "none")
    assert rows(SECRETS) == [(None, None)]


def opened_after(flask_json, rows, *options):
    return flask_json("clients", "set", "web", *options)["client_secret"] == opened(rows)


def test_a_public_client_that_learns_to_sign(flask_json, seed, rows):
    seed(a_public_client())
    assert "client_secret" not in flask_json("clients", "set", "spa", *SIGNS)
    assert rows(SECRETS) == [(None, None)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--auth-method", "private_key_jwt"), "needs jwks or jwks_uri"),
        (
            (*SIGNS, "--set", 'token_endpoint_auth_signing_alg="HS256"'),
            "does not fit auth method private_key_jwt",
        ),
        ((*SIGNS, "--set", 'token_endpoint_auth_signing_alg="RS256"'), "jwks has no key for it"),
        (
            (*SIGNS_SECRET, "--set", 'token_endpoint_auth_signing_alg="ES256"'),
            "does not fit auth method client_secret",
        ),
        (("--set", 'token_endpoint_auth_signing_alg="HS256"'), "is of use with auth methods"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(refused, seed, rows, options, words):
    seed(a_client())
    assert words in refused("clients", "set", "web", *options)
    assert rows(SECRETS) == [(digest(CLIENT_SECRET), None)]


def test_the_keys_of_a_client_that_signs_cannot_be_taken_away(refused, flask_json):
    added = flask_json("clients", "add", "Web", *WEB, *SIGNS)
    assert "needs jwks" in refused("clients", "set", added["client_id"], "--set", "jwks=null")
