"""Pending authorization requests. Each has its own id and belongs to one browser, so two tabs never mix."""

from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from models import AuthorizationTicket, db
from store import sweep

LIFETIME_SECONDS = 3600  # time enough to sign up
DELETE_SOME_EXPIRED = sweep.expired(AuthorizationTicket, AuthorizationTicket.ticket_digest)


def add(ticket_digest: bytes, browser_digest: bytes, client_id: str, parameters: dict[str, str], now: int) -> None:
    """Keep a validated request until its person has decided; drop a few expired ones."""
    db.session.execute(DELETE_SOME_EXPIRED, {"now": now})
    db.session.execute(
        insert(AuthorizationTicket),
        {
            "ticket_digest": ticket_digest,
            "browser_digest": browser_digest,
            "client_id": client_id,
            "parameters": parameters,
            "expires_at": now + LIFETIME_SECONDS,
        },
    )


def find(ticket_digest: bytes, browser_digest: bytes, now: int) -> Row[Any] | None:
    """The pending request of this browser: `client_id`, `parameters`."""
    return db.session.execute(
        select(AuthorizationTicket.client_id, AuthorizationTicket.parameters).where(
            AuthorizationTicket.ticket_digest == ticket_digest,
            AuthorizationTicket.browser_digest == browser_digest,
            AuthorizationTicket.expires_at > now,
        )
    ).one_or_none()


def claim(ticket_digest: bytes) -> bool:
    """Spend the ticket; True for exactly one caller."""
    claimed = db.session.execute(
        delete(AuthorizationTicket)
        .where(AuthorizationTicket.ticket_digest == ticket_digest)
        .returning(AuthorizationTicket.ticket_digest)
    )
    return claimed.one_or_none() is not None


def hand_over(old_browser_digest: bytes, new_browser_digest: bytes, ticket_digest: bytes | None = None) -> None:
    """The browser got a new id (sign-in, sign-out): its pending requests, or just one of them, follow."""
    statement = update(AuthorizationTicket).where(AuthorizationTicket.browser_digest == old_browser_digest)
    if ticket_digest is not None:
        statement = statement.where(AuthorizationTicket.ticket_digest == ticket_digest)
    db.session.execute(statement.values(browser_digest=new_browser_digest))
