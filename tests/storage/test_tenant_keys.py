"""Keys and references of the tables tell tenants apart, on each engine."""

import pytest
from sqlalchemy.exc import IntegrityError

import store.tickets
from crypto.credentials import digest
from database.tenancy import HOME, entered
from models import ClientOrigin, ClientSecretUse, Consent, Scope, db
from tests.builders import (
    a_client_session,
    a_code,
    a_notice,
    a_public_client,
    a_session,
    a_token,
    a_user,
)
from tests.storage.two_tenants import NOW, ORIGIN, OTHER, a_signing_key

pytestmark = pytest.mark.usefixtures("two_tenants")

TWICE = {
    "a user": lambda: a_user(id=9, sub="another"),
    "a sub": lambda: a_user(id=9, email="grace@example.com"),
    "a client": lambda: a_public_client(client_id="web"),
    "a scope": lambda: Scope(name="read", description=""),
    "a generation of keys": lambda: a_signing_key("another kid"),
    "an origin": lambda: ClientOrigin(client_id="web", origin=ORIGIN),
}


@pytest.mark.threat("T195")
@pytest.mark.parametrize("tenant", [HOME, OTHER])
@pytest.mark.parametrize("make", TWICE.values(), ids=TWICE)
def test_at_one_tenant_there_is_one_of_a_name(make, tenant):
    with entered(tenant), pytest.raises(IntegrityError):
        db.session.add(make())
        db.session.flush()


# ---- a row of one below a row of the other -----------------------------------------------------------------


BELOW_ANOTHERS = {
    "a session": lambda: a_session(90, session_digest=digest("x"), user_id=HOME),
    "a client in a session": lambda: a_client_session("x", session_id=HOME),
    "a session at a client": lambda: a_client_session("x", session_id=OTHER, client_id="home's"),
    "a notice of a user": lambda: a_notice(id=90, user_id=HOME),
    "a notice to a client": lambda: a_notice(id=90, user_id=OTHER, client_id="home's"),
    "a code of a user": lambda: a_code("x", user_id=HOME),
    "a code of a client": lambda: a_code("x", user_id=OTHER, client_id="home's"),
    "a token": lambda: a_token(id=90, user_id=OTHER, client_id="home's"),
    "consent of a user": lambda: Consent(user_id=HOME, client_id="web", scope="", granted_at=1),
    "consent to a client": lambda: Consent(user_id=OTHER, client_id="home's", scope="", granted_at=1),
    "an origin": lambda: ClientOrigin(client_id="home's", origin=ORIGIN),
    "a use of a secret": lambda: ClientSecretUse(client_id="home's", number=1, last_used_at=1),
}


@pytest.mark.threat("T195")
@pytest.mark.parametrize("make", BELOW_ANOTHERS.values(), ids=BELOW_ANOTHERS)
def test_a_row_below_a_row_of_the_other_is_refused(make):
    db.session.add(a_public_client(client_id="home's"))
    db.session.flush()
    with entered(OTHER), pytest.raises(IntegrityError):
        db.session.add(make())
        db.session.flush()


@pytest.mark.threat("T195")
def test_a_ticket_for_a_client_of_the_other_is_refused():
    db.session.add(a_public_client(client_id="home's"))
    db.session.flush()
    with entered(OTHER), pytest.raises(IntegrityError):
        store.tickets.add("x", digest("browser"), "home's", {}, NOW)


@pytest.mark.threat("T195")
def test_a_row_of_no_tenant_is_refused():
    with entered(99), pytest.raises(IntegrityError):
        db.session.add(Scope(name="read", description=""))
        db.session.flush()
