"""Remembered consent: what a user has allowed a client."""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import delete, insert, select, update

from database.tenancy import own
from models import Client, Consent, db
from protocol import scopes
from store.rows import fetch_all


class ConsentRow(NamedTuple):
    """What a user has allowed a client, and when that last changed."""

    client: Client
    scope: str
    granted_at: int


def find_scope(user_id: int, client_id: str) -> str | None:
    """Return the scope that a user has allowed a client, perhaps ""; None where nobody was asked."""
    return db.session.scalar(
        select(Consent.scope).where(own(Consent), Consent.user_id == user_id, Consent.client_id == client_id)
    )


def scopes_of(user_ids: Collection[int], client_id: str) -> dict[int, str]:
    """Return what each of these users has allowed a client, by user id. One SELECT at most.

    Users who were never asked are left out.
    """
    if not user_ids:
        return {}
    statement = select(Consent.user_id, Consent.scope).where(
        own(Consent), Consent.client_id == client_id, Consent.user_id.in_(user_ids)
    )
    return {row.user_id: row.scope for row in db.session.execute(statement)}


def remember(user_id: int, client_id: str, scope: str, now: int) -> None:
    """Add `scope` to what a user has allowed a client."""
    known = find_scope(user_id, client_id)
    if known is None:
        values = {"user_id": user_id, "client_id": client_id, "scope": scope, "granted_at": now}
        db.session.execute(insert(Consent), values)
        return
    together = scopes.join(scopes.split(f"{known} {scope}"))
    db.session.execute(
        update(Consent)
        .where(own(Consent), Consent.user_id == user_id, Consent.client_id == client_id)
        .values(scope=together, granted_at=now)
    )


def of_user(user_id: int) -> list[ConsentRow]:
    """Return the consents of a user, the latest first. One SELECT."""
    statement = (
        select(Client, Consent.scope, Consent.granted_at)
        .join_from(Consent, Client)
        .where(own(Consent), Consent.user_id == user_id)
        .order_by(Consent.granted_at.desc(), Consent.client_id)
    )
    return fetch_all(ConsentRow, statement)


def withdraw(user_id: int, client_id: str) -> bool:
    """Delete a user's consent, and return whether there was one. The caller revokes the tokens."""
    statement = delete(Consent).where(
        own(Consent), Consent.user_id == user_id, Consent.client_id == client_id
    )
    return db.session.execute(statement.returning(Consent.client_id)).one_or_none() is not None
