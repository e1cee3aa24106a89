"""Remembered consent: what a person has allowed a client."""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import delete, insert, select, update

from models import Client, Consent, db
from protocol import scopes
from store.rows import fetch_all


class ConsentRow(NamedTuple):
    """What a user has allowed a client, and when that last changed."""

    client: Client
    scope: str
    granted_at: int


def find_scope(user_id: int, client_id: str) -> str | None:
    """The scope that was allowed so far, "" for a client that asked for none, None when the person was never
    asked.
    """
    return db.session.scalar(
        select(Consent.scope).where(Consent.user_id == user_id, Consent.client_id == client_id)
    )


def scopes_of(user_ids: Collection[int], client_id: str) -> dict[int, str]:
    """What each of these people has allowed a client, by person; those who were never asked are left out.

    One SELECT at most.
    """
    if not user_ids:
        return {}
    statement = select(Consent.user_id, Consent.scope).where(
        Consent.client_id == client_id, Consent.user_id.in_(user_ids)
    )
    return {row.user_id: row.scope for row in db.session.execute(statement)}


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


def of_user(user_id: int) -> list[ConsentRow]:
    """Return the consents of a user, the latest first. One SELECT."""
    statement = (
        select(Client, Consent.scope, Consent.granted_at)
        .join(Client, Client.client_id == Consent.client_id)
        .where(Consent.user_id == user_id)
        .order_by(Consent.granted_at.desc(), Consent.client_id)
    )
    return fetch_all(ConsentRow, statement)


def withdraw(user_id: int, client_id: str) -> bool:
    """Whether there was one; what the client got by it ends separately."""
    statement = delete(Consent).where(Consent.user_id == user_id, Consent.client_id == client_id)
    return db.session.execute(statement.returning(Consent.client_id)).one_or_none() is not None
