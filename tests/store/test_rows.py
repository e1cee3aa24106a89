"""The rows of `store/` are what their classes say: each field has its column's value, and its type."""

import types
import typing

import pytest

import store.client_sessions
import store.codes
import store.consents
import store.logout_notices
import store.signing_keys
import store.tokens
import store.user_sessions
import store.users
from crypto import credentials
from models import Consent
from protocol import clock
from services.current import keyring
from tests.builders import (
    a_client,
    a_client_session,
    a_code,
    a_notice,
    a_refresh_token,
    a_session,
    a_token,
    a_user,
)
from unit_of_work import transaction

COOKIE = "session 1"
REFRESH_TOKEN = a_refresh_token()

SESSION = {
    "auth_time": 1_700_000_000,
    "created_at": 1_700_000_001,
    "last_seen_at": 1_700_000_002,
    "user_agent": "agent",
    "remote_addr": "192.0.2.1",
    "device_digest": b"d" * 32,
}
QUESTIONS = {
    "family": lambda: [store.tokens.find_family(family_digest())],
    "locked family": lambda: store.tokens.find_family_and_lock_user(family_digest()),
    "token": lambda: [store.tokens.find_by_family(family_digest())],
    "spent code": lambda: [store.tokens.find_of_code(b"c" * 32, "web")],
    "code": lambda: store.codes.find_and_lock_user(credentials.digest("ost_ac_1")),
    "user": lambda: [store.users.lock(1)],
    "client session": lambda: [store.client_sessions.find("sid-1")],
    "client name": lambda: store.client_sessions.names_of_user(1),
    "known client": lambda: store.client_sessions.of_user(1),
    "consent": lambda: store.consents.of_user(1),
    "session": lambda: store.user_sessions.of_user(1, clock.now()),
    "signed in": lambda: [store.user_sessions.find_signed_in(COOKIE, clock.now())],
    "expired session": lambda: [store.user_sessions.find_expired(2, clock.now())],
    "receipt": lambda: store.logout_notices.of_user(1),
    "notice": lambda: store.logout_notices.claim_due(clock.now(), 1),
    "signing key": lambda: store.signing_keys.all_keys(),
}
# What the fields of these names have in every row: no two have the same value.
VALUES = {
    "client_name": "Web",
    "sub": "sub-of-ada",
    "email": "ada@example.com",
    "name": "Ada",
    "sid": "sid-1",
    "client_id": "web",
    "user_id": 1,
    "auth_time": SESSION["auth_time"],
    "user_agent": "agent",
    "remote_addr": "192.0.2.1",
    "device_digest": b"d" * 32,
    "scope": "read",
    "code_challenge": "h" * 43,
    "redirect_uri_digest": b"r" * 32,
    "outcome": "",
}


def is_of(value, kind):
    """Return whether a value is of an annotated type, but for what a container has in it."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return any(is_of(value, one) for one in typing.get_args(kind))
    return isinstance(value, typing.get_origin(kind) or kind)


def family_digest():
    return credentials.digest(credentials.RefreshToken.parse(REFRESH_TOKEN).family)


@pytest.fixture
def stored(app, seed):
    seed(
        a_user(),
        a_client(),
        a_session(**SESSION),
        a_session(2, **SESSION | {"expires_at": clock.now() - 1}),
        a_client_session(),
        Consent(user_id=1, client_id="web", scope="read", granted_at=clock.now()),
        a_code(
            "ost_ac_1", scope="read", auth_time=SESSION["auth_time"], sid="sid-1", code_challenge="h" * 43
        ),
        a_token(
            REFRESH_TOKEN,
            scope="read",
            auth_time=SESSION["auth_time"],
            sid="sid-1",
            code_digest=b"c" * 32,
            redirect_uri_digest=b"r" * 32,
            code_challenge="h" * 43,
        ),
        a_notice(sid="sid-1"),
    )
    with app.app_context(), transaction():
        keyring.sign({}, "ES256")


@pytest.mark.parametrize("question", QUESTIONS)
def test_each_field_has_the_value_of_its_column_and_the_type_of_its_class(app, stored, question):
    with app.app_context():
        found = QUESTIONS[question]()
        assert found
        for row in found:
            for name, kind in typing.get_type_hints(type(row)).items():
                value = getattr(row, name)
                assert is_of(value, kind), (name, kind, value)
                assert value == VALUES.get(name, value), name
