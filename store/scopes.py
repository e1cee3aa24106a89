"""Scopes and what the consent page says of them."""

from sqlalchemy import select

from database.tenancy import current_tenant, own
from models import Scope, db
from protocol.scopes import OFFLINE_ACCESS, OFFLINE_ACCESS_DESCRIPTION


def find(name: str) -> Scope | None:
    """Return a scope, or None."""
    return db.session.get(Scope, (current_tenant(), name))


def all_by_name() -> list[Scope]:
    """Return all scopes, by name."""
    return list(db.session.scalars(select(Scope).where(own(Scope)).order_by(Scope.name)))


def add(name: str, description: str) -> None:
    """Store a new scope."""
    db.session.add(Scope(name=name, description=description))
    db.session.flush()


def remove(scope: Scope) -> None:
    """Delete a scope."""
    db.session.delete(scope)
    db.session.flush()


def descriptions(names: tuple[str, ...]) -> dict[str, str]:
    """Return the description of each of `names`, in their order.

    A scope whose row is gone is described by its name.
    """
    found = {
        row.name: row.description
        for row in db.session.scalars(select(Scope).where(own(Scope), Scope.name.in_(names)))
    }
    found.setdefault(OFFLINE_ACCESS, OFFLINE_ACCESS_DESCRIPTION)
    return {name: found.get(name, name) for name in names}
