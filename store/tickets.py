"""Pending authorization requests. Each has its own id and belongs to one browser, so two tabs never mix.

The parameters are sealed under the ticket, of which the database has the digest only: a request may carry a `state`, a `nonce`, the
address of a person.
"""

from typing import Any, NamedTuple

from sqlalchemy import case, delete, insert, select, update

from models import AuthorizationTicket, db
from protocol import credentials
from protocol.seal import seal, unseal
from store import sweep

LIFETIME_SECONDS = 3600  # time enough to sign up
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
    """Keep a validated request until its person has decided; drop a few expired ones. `session_id`: of whom it is put before."""
    sweep_some(now)
    db.session.execute(
        insert(AuthorizationTicket),
        {
            "ticket_digest": credentials.digest(ticket),
            "browser_digest": browser_digest,
            "client_id": client_id,
            "sealed_parameters": seal(parameters, ticket),
            "session_id": session_id,
            "expires_at": now + LIFETIME_SECONDS,
        },
    )


def find(ticket: str, browser_digest: bytes, now: int) -> Ticket | None:
    """The pending request of this browser."""
    row = db.session.execute(
        select(AuthorizationTicket.__table__).where(
            AuthorizationTicket.ticket_digest == credentials.digest(ticket),
            AuthorizationTicket.browser_digest == browser_digest,
            AuthorizationTicket.expires_at > now,
        )
    ).one_or_none()
    parameters = unseal(row.sealed_parameters, ticket) if row is not None else None
    if row is None or parameters is None:
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


def assign(ticket: str, session_id: int) -> None:
    """From now on the request is this session's."""
    statement = update(AuthorizationTicket).where(AuthorizationTicket.ticket_digest == credentials.digest(ticket))
    db.session.execute(statement.values(session_id=session_id))


def hand_over(
    old_browser_digest: bytes,
    new_browser_digest: bytes,
    ticket: str | None = None,
    session_id: int | None = None,
    begins_at: int | None = None,
) -> None:
    """The browser got a new id (sign-in, another account): its pending requests follow; `ticket` is `session_id`'s from now on."""
    of_session: Any = AuthorizationTicket.session_id
    expires_at: Any = AuthorizationTicket.expires_at
    if ticket is not None:
        is_it = AuthorizationTicket.ticket_digest == credentials.digest(ticket)
        of_session = case((is_it, session_id), else_=AuthorizationTicket.session_id)
        if begins_at is not None:
            expires_at = case((is_it, begins_at + LIFETIME_SECONDS), else_=AuthorizationTicket.expires_at)
    db.session.execute(
        update(AuthorizationTicket)
        .where(AuthorizationTicket.browser_digest == old_browser_digest)
        .values(browser_digest=new_browser_digest, session_id=of_session, expires_at=expires_at)
    )
