"""Pending authorization requests. Each has its own id, the ticket, so that two tabs of a browser never mix.

The parameters are encrypted under the ticket, of which the database has the digest only: a request may carry
a `state`, a `nonce`, or a user's address.
"""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import delete, func, insert, select, update

from crypto import credentials
from crypto.encryption import decrypt, encrypt
from crypto.json_values import JsonObject
from database.tables import table
from database.tenancy import own
from models import AuthorizationTicket, db
from protocol import clock
from store import sweep

LIFETIME_SECONDS = 3600  # enough to sign up in
PER_BROWSER = 64  # the oldest are deleted
sweep_some = sweep.expired(table(AuthorizationTicket))


class Ticket(NamedTuple):
    """A pending authorization request."""

    client_id: str
    parameters: dict[str, str]
    session_id: int | None  # of the user who signed in for it, was chosen for it, or has seen it
    created_at: int


def add(
    ticket: str,
    browser_digest: bytes,
    client_id: str,
    parameters: dict[str, str],
    now: int,
    session_id: int | None = None,
) -> None:
    """Store a valid request until its user has decided; delete a few expired ones, and the browser's oldest.

    session_id: of the user who is asked; None before that is known.
    """
    sweep_some(now)
    delete_surplus(browser_digest)
    db.session.execute(
        insert(AuthorizationTicket),
        {
            "ticket_digest": credentials.digest(ticket),
            "browser_digest": browser_digest,
            "client_id": client_id,
            "sealed_parameters": encrypt(parameters, ticket),
            "session_id": session_id,
            "requested_at": clock.now_in_microseconds(),
            "expires_at": now + LIFETIME_SECONDS,
        },
    )


def delete_surplus(browser_digest: bytes) -> None:
    """Delete the oldest requests of a browser that has PER_BROWSER. One SELECT, and a DELETE if it has."""
    surplus = (
        select(AuthorizationTicket.ticket_digest)
        .where(own(AuthorizationTicket), AuthorizationTicket.browser_digest == browser_digest)
        .order_by(
            func.coalesce(AuthorizationTicket.requested_at, 0).desc(), AuthorizationTicket.expires_at.desc()
        )
        .offset(PER_BROWSER - 1)
        .limit(PER_BROWSER)
    )
    if digests := list(db.session.scalars(surplus)):
        db.session.execute(
            delete(AuthorizationTicket).where(
                own(AuthorizationTicket), AuthorizationTicket.ticket_digest.in_(digests)
            )
        )


def find(ticket: str, browser_digests: Collection[bytes], now: int) -> Ticket | None:
    """Return the pending request where it belongs to this browser, else None. One SELECT.

    browser_digests: of all ids of the browser; the request was stored under one of them.
    """
    row = db.session.execute(
        select(AuthorizationTicket.__table__).where(
            own(AuthorizationTicket),
            AuthorizationTicket.ticket_digest == credentials.digest(ticket),
            AuthorizationTicket.expires_at > now,
        )
    ).one_or_none()
    if row is None or row.browser_digest not in browser_digests:
        return None
    parameters = decrypt(row.sealed_parameters, ticket)
    if parameters is None:
        return None
    return Ticket(row.client_id, parameters, row.session_id, row.expires_at - LIFETIME_SECONDS)


def claim(ticket: str) -> bool:
    """Spend a ticket by deleting it, and return whether this caller did."""
    claimed = db.session.execute(
        delete(AuthorizationTicket)
        .where(own(AuthorizationTicket), AuthorizationTicket.ticket_digest == credentials.digest(ticket))
        .returning(AuthorizationTicket.ticket_digest)
    )
    return claimed.one_or_none() is not None


def assign(
    ticket: str, browser_digests: Collection[bytes], session_id: int, begins_at: int | None = None
) -> None:
    """Make a pending request of this browser that of a session.

    begins_at: the request's life begins again then.
    """
    values: JsonObject = {"session_id": session_id}
    if begins_at is not None:
        values["expires_at"] = begins_at + LIFETIME_SECONDS
    statement = update(AuthorizationTicket).where(
        own(AuthorizationTicket),
        AuthorizationTicket.ticket_digest == credentials.digest(ticket),
        AuthorizationTicket.browser_digest.in_(browser_digests),
    )
    db.session.execute(statement.values(values))
