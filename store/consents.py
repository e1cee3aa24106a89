"""Remembered consent: what a person has allowed a client."""

from sqlalchemy import insert, select, update

from models import Consent, db
from protocol import scopes


def find_scope(user_id: int, client_id: str) -> str | None:
    """The scope that was allowed so far, "" for a client that asked for none, None when the person was never asked."""
    return db.session.scalar(select(Consent.scope).where(Consent.user_id == user_id, Consent.client_id == client_id))


def remember(user_id: int, client_id: str, scope: str, now: int) -> None:
    """Add `scope` to what the person has allowed."""
    known = find_scope(user_id, client_id)
    if known is None:
        values = {"user_id": user_id, "client_id": client_id, "scope": scope, "granted_at": now}
        db.session.execute(insert(Consent), values)
        return
    together = scopes.join(scopes.split(f"{known} {scope}"))
    db.session.execute(
        update(Consent)
        .where(Consent.user_id == user_id, Consent.client_id == client_id)
        .values(scope=together, granted_at=now)
    )
