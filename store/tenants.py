"""The tenants of this server: their names, issuers, settings and branding."""

from typing import NamedTuple

from sqlalchemy import CursorResult, delete, select, update

from crypto.json_values import JsonObject
from database.tables import table
from database.tenancy import HOME, own
from models import Tenant, db
from protocol import clock
from store.rows import columns, fetch_all, fetch_one

tenants = table(Tenant)


class TenantRow(NamedTuple):
    """A tenant. issuer: None for the one at home's origin. disabled_at: None where it answers."""

    id: int
    name: str
    issuer: str | None
    settings: JsonObject
    branding: JsonObject
    created_at: int
    disabled_at: int | None


OTHERS = select(*columns(TenantRow, tenants)).where(tenants.c.id != HOME).order_by(tenants.c.name)


def all_others() -> list[TenantRow]:
    """Return all tenants but home, by name. One SELECT."""
    return fetch_all(TenantRow, OTHERS)


def find(name: str) -> TenantRow | None:
    """Return the tenant with this name, but not home."""
    return fetch_one(TenantRow, OTHERS.where(tenants.c.name == name))


def lock(name: str) -> TenantRow | None:
    """Return the tenant with this name, locked, so that no row of it is stored meanwhile; None for home."""
    return fetch_one(TenantRow, OTHERS.where(tenants.c.name == name).with_for_update())


def lock_home() -> None:
    """Lock home's row; rows that refer to it can be stored all the same."""
    db.session.execute(select(tenants.c.id).where(tenants.c.id == HOME).with_for_update(key_share=True))


def add(name: str, issuer: str | None, settings: JsonObject, branding: JsonObject) -> int:
    """Add a tenant, and return its number."""
    tenant = Tenant(
        name=name,
        issuer=issuer,
        settings=settings,
        branding=branding,
        created_at=clock.now(),
    )
    db.session.add(tenant)
    db.session.flush()
    return tenant.id


def change(tenant_id: int, **values: object) -> None:
    """Set columns of a tenant."""
    db.session.execute(update(tenants).where(tenants.c.id == tenant_id).values(**values))


def remove_rows() -> dict[str, int]:
    """Delete all rows of the current tenant, children first; return how many each table had."""
    removed = {}
    for rows in reversed(db.metadata.sorted_tables):
        if "tenant_id" in rows.c:
            found = db.session.execute(delete(rows).where(own(rows)))
            removed[rows.name] = found.rowcount if isinstance(found, CursorResult) else 0
    return removed


def remove(tenant_id: int) -> None:
    """Delete a tenant that has no rows."""
    db.session.execute(delete(tenants).where(tenants.c.id == tenant_id))
