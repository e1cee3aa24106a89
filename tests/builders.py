"""Builders: valid rows and requests, so that a test states only what matters to it."""

from functools import cache

import crypto.passwords
from crypto import credentials
from models import AuthorizationCode, Client, ClientSession, LogoutNotice, Token, User, UserSession
from protocol import clock, pkce
from services import passwords

ISSUER = "https://op.example"
SECRET_KEY = "k" * 32
PASSWORD = "correct horse battery"
CLIENT_SECRET = "ost_cs_" + "s" * 43
VERIFIER = "v" * 43
CHALLENGE = pkce.s256(VERIFIER)
REDIRECT_URI = "https://app.example/cb"


AUTHORIZATION_REQUEST = {
    "response_type": "code",
    "client_id": "web",
    "redirect_uri": REDIRECT_URI,
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


def password_hash() -> str:
    """At the price of the moment: one of another price would be renewed at its next use."""
    return password_hash_at(crypto.passwords.PARAMETERS)


@cache
def password_hash_at(parameters: str) -> str:
    return passwords.hash_password(PASSWORD)


def a_user(**changed):
    values = {
        "id": 1,
        "sub": "sub-of-ada",
        "email": "ada@example.com",
        "name": "Ada",
        "password_hash": password_hash(),
        "created_at": clock.now(),
    }
    return User(**values | changed)


def a_client(**changed):
    """A confidential web client called "web"."""
    values = {
        "client_id": "web",
        "client_name": "Web",
        "client_secret_digest": credentials.digest(CLIENT_SECRET),
        "client_id_issued_at": clock.now(),
        "token_endpoint_auth_method": "client_secret_basic",
        "grant_types": ["authorization_code", "refresh_token"],
        "redirect_uris": [REDIRECT_URI],
        "scope": "profile email",
    }
    return Client(**values | changed)


def a_public_client(**changed):
    return a_client(
        **{"client_id": "spa", "client_secret_digest": None, "token_endpoint_auth_method": "none"} | changed
    )


def a_machine(**changed):
    return a_client(
        **{"client_id": "robot", "grant_types": ["client_credentials"], "redirect_uris": [], "scope": "read"}
        | changed
    )


def a_code(code, **changed):
    values = {
        "code_digest": credentials.digest(code),
        "client_id": "web",
        "user_id": 1,
        "redirect_uri": REDIRECT_URI,
        "scope": "profile email",
        "code_challenge": CHALLENGE,
        "auth_time": clock.now(),
        "expires_at": clock.now() + 60,
    }
    return AuthorizationCode(**values | changed)


def a_refresh_token(family=None):
    return str(credentials.RefreshTokenMaker(SECRET_KEY).new(family))


def a_token(refresh_token=None, **changed):
    """The row of a live token of user 1 at "web"; with `refresh_token`, its family."""
    access_token = credentials.new_access_token()
    values = {
        "client_id": "web",
        "user_id": 1,
        "slot": 0,
        "scope": "profile email",
        "access_token_scope": "profile email",
        "access_token_digest": credentials.digest(access_token),
        "access_token_expires_at": clock.now() + 600,
        "issued_at": clock.now_in_microseconds(),
        "auth_time": clock.now(),
    }
    if refresh_token:
        values["family_digest"] = credentials.digest(credentials.RefreshToken.parse(refresh_token).family)
        values["refresh_token_digest"] = credentials.digest(refresh_token)
        values["refresh_token_expires_at"] = clock.now() + 3600
    return Token(**values | changed)


def code_request(code, /, **changed):
    """The body of a code exchange. A value of None leaves the parameter out."""
    body = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": REDIRECT_URI,
        "code_verifier": VERIFIER,
    }
    return {name: value for name, value in (body | changed).items() if value is not None}


def refresh_request(refresh_token, **changed):
    return {"grant_type": "refresh_token", "refresh_token": refresh_token} | changed


def basic(client_id="web", secret=CLIENT_SECRET):
    return (client_id, secret)


def a_session(number=1, **changed):
    """A browser that user 1 is signed in with."""
    now = clock.now()
    values = {
        "id": number,
        "session_digest": credentials.digest(f"session {number}"),
        "user_id": 1,
        "created_at": now,
        "auth_time": now,
        "amr": "pwd",
        "expires_at": now + 3600,
    }
    return UserSession(**values | changed)


def a_client_session(sid="sid-1", **changed):
    """Client "web" in session 1."""
    return ClientSession(
        **{"sid": sid, "session_id": 1, "client_id": "web", "created_at": clock.now()} | changed
    )


def a_notice(**changed):
    """To "web", of a session of user 1, due now."""
    values = {"user_id": 1, "client_id": "web", "sub": "sub-of-ada", "sid": "sid-1"}
    return LogoutNotice(**values | {"created_at": clock.now(), "next_attempt_at": clock.now()} | changed)
