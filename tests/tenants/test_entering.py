"""Where tenants are on, nothing is done for nobody; and the session is empty when a tenant is entered."""

import pytest
from sqlalchemy import delete, literal, select, update

from database.tenancy import own
from errors import NoTenantError, UnfencedError
from models import Client, Scope, User, db
from services import current
from services.current import issuer, keyring, settings, state_of
from tests import statements
from unit_of_work import run_in_app

READ = (own(Scope), Scope.name == "read")

FOR_NOBODY = {
    "SELECT": lambda: db.session.execute(select(Scope.name).where(*READ)),
    "SELECT of a model": lambda: db.session.scalars(select(Scope).where(*READ)).all(),
    "get": lambda: db.session.get(Client, (1, "web")),
    "UPDATE": lambda: db.session.execute(update(Scope).where(*READ).values(description="x")),
    "DELETE": lambda: db.session.execute(delete(User).where(own(User), User.sub == "sub-of-ada")),
    "a new row": lambda: db.session.add(Scope(name="new", description="")),
    "a new row of home": lambda: db.session.add(Scope(tenant_id=1, name="new", description="")),
}


@pytest.mark.threat("T193")
@pytest.mark.parametrize("work", FOR_NOBODY.values(), ids=FOR_NOBODY)
def test_where_no_tenant_is_entered_no_row_is_read_or_changed(issuers, work):
    """Home is not taken for granted: a job that has forgotten whom it works for would work for home."""
    scopes = statements.select(Scope.tenant_id, Scope.name, Scope.description)
    users = statements.select(User.tenant_id, User.sub)
    before = [sorted(issuers[0].rows(rows)) for rows in (scopes, users)]
    with pytest.raises(UnfencedError, match="has no tenant"):
        run_in_app(issuers[0].app, work)
    assert [sorted(issuers[0].rows(rows)) for rows in (scopes, users)] == before


WITHOUT_SETTINGS = {
    "a setting": lambda: settings.max_sessions,
    "the issuer": lambda: str(issuer),
    "keys": lambda: keyring.jwks(),
    "the name on pages": current.brand_name,
}


@pytest.mark.threat("T193")
@pytest.mark.parametrize("ask", WITHOUT_SETTINGS.values(), ids=WITHOUT_SETTINGS)
def test_nor_are_there_settings_or_keys(issuers, ask):
    with issuers[0].app.app_context(), pytest.raises(NoTenantError):
        ask()


def a_row():
    return db.session.scalars(select(Client).where(own(Client), Client.client_id == "web")).one()


def a_row_of_a_transaction_that_has_ended():
    row = a_row()
    db.session.rollback()
    return row


FULL = {
    "a transaction": lambda: db.session.execute(select(literal(1))),
    "a row": a_row,
    "a row, after the transaction": a_row_of_a_transaction_that_has_ended,
    "a new row": lambda: db.session.add(Scope(name="new", description="")),
}


@pytest.mark.threat("T197")
@pytest.mark.parametrize("fill", FULL.values(), ids=FULL)
def test_a_tenant_is_entered_with_an_empty_session(issuers, fill):
    """What one tenant has left in it would be handed out to the next, or stored as the next one's."""
    _home, acme, beta = issuers
    known = state_of(acme.app).tenants
    with acme.app.app_context(), known.entered(acme.id):
        kept = fill()  # the session forgets rows that nobody holds
        with pytest.raises(RuntimeError, match="rows of the tenant before"), known.entered(beta.id):
            pass
        assert current.tenant().name == "acme"
        db.session.rollback()
        db.session.remove()
        with known.entered(beta.id):
            assert a_row() is not kept
            db.session.rollback()
            db.session.remove()
        assert current.tenant().name == "acme"
