"""Pending authorization requests. Each has its own id and belongs to one browser, so two tabs never mix.

The parameters are sealed under the ticket, of which the database has the digest only: a request may carry a
`state`, a `nonce`, the address of a person.
"""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import delete, func, insert, select, update

from crypto import credentials
from crypto.encryption import decrypt, encrypt
from crypto.json_values import JsonObject
from models import AuthorizationTicket, db
from protocol import clock
from store import sweep

LIFETIME_SECONDS = 3600  # time enough to sign up
PER_BROWSER = 64  # the oldest go
sweep_some = sweep.expired(AuthorizationTicket, AuthorizationTicket.ticket_digest)


class Ticket(NamedTuple):
    client_id: str
    parameters: dict[str, str]
    session_id: int | None  # whose request it is: who signed in for it, was chosen for it, or has seen it
    created_at: int


def add(
    ticket: str,
    browser_digest: bytes,
    client_id: str,
    parameters: dict[str, str],
    now: int,
    session_id: int | None = None,
) -> None:
    """Keep a validated request until its person has decided. A few expired ones go, and the oldest of a
    browser with too many.

    session_id: of whom it is put before.
    """
    sweep_some(now)
    drop_surplus(browser_digest)
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


def drop_surplus(browser_digest: bytes) -> None:
    """Leave room for one more. One SELECT, one DELETE more where there are too many."""
    surplus = (
        select(AuthorizationTicket.ticket_digest)
        .where(AuthorizationTicket.browser_digest == browser_digest)
        .order_by(
            func.coalesce(AuthorizationTicket.requested_at, 0).desc(), AuthorizationTicket.expires_at.desc()
        )
        .offset(PER_BROWSER - 1)
        .limit(PER_BROWSER)
    )
    if digests := list(db.session.scalars(surplus)):
        db.session.execute(delete(AuthorizationTicket).where(AuthorizationTicket.ticket_digest.in_(digests)))


def find(ticket: str, browser_digests: Collection[bytes], now: int) -> Ticket | None:
    """The pending request, when it is this browser's: one of its ids is the one that it was stored under.

    One SELECT.
    """
    row = db.session.execute(
        select(AuthorizationTicket.__table__).where(
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
    """Spend the ticket; True for exactly one caller."""
    claimed = db.session.execute(
        delete(AuthorizationTicket)
        .where(AuthorizationTicket.ticket_digest == credentials.digest(ticket))
        .returning(AuthorizationTicket.ticket_digest)
    )
    return claimed.one_or_none() is not None


def assign(
    ticket: str, browser_digests: Collection[bytes], session_id: int, begins_at: int | None = None
) -> None:
    """From now on the request is this session's, when it is this browser's. begins_at: it begins
    anew then.
    """
    values: JsonObject = {"session_id": session_id}
    if begins_at is not None:
        values["expires_at"] = begins_at + LIFETIME_SECONDS
    statement = update(AuthorizationTicket).where(
        AuthorizationTicket.ticket_digest == credentials.digest(ticket),
        AuthorizationTicket.browser_digest.in_(browser_digests),
    )
    db.session.execute(statement.values(values))
