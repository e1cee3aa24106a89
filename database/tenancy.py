"""Whose rows a statement is about: the present tenant, and `own(rows)` for each table in a statement."""

from contextvars import ContextVar

from sqlalchemy import ColumnElement, Integer, bindparam

HOME = 1
EVERY_TENANT = "every_tenant"  # an option of a statement that is about all tenants, and says why
_tenant: ContextVar[int] = ContextVar("tenant", default=HOME)
current_tenant = _tenant.get
TENANT = bindparam("of_tenant", callable_=current_tenant, type_=Integer)


def own(rows: object) -> ColumnElement[bool]:
    """Return the criterion that rows of a table, an alias of one or a model are the present tenant's."""
    return (rows.c if hasattr(rows, "c") else rows).tenant_id == TENANT  # type: ignore
