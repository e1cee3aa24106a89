"""The base of all tables, and what each table of a tenant's rows has: `tenant_id`, keys that begin with it.

A new table takes one of the two mixins, and its statements say whose rows they want (`database.tenancy.own`).
"""

from sqlalchemy import ForeignKeyConstraint, Integer, MetaData, text
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedColumn, declared_attr, mapped_column

from database.tenancy import current_tenant


class Base(DeclarativeBase):
    """The base of all tables; it names constraints and indexes."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def tenant_column(**options: bool) -> MappedColumn[int]:
    """Return the column that says whose a row is.

    An older version, which knows no tenants, stores rows of `home`: that is what the database fills in.
    """
    return mapped_column(Integer, default=current_tenant, server_default=text("1"), sort_order=-1, **options)


class OfTenantByKey:
    """A row of a tenant, in a table whose primary key begins with the tenant."""

    tenant_id: Mapped[int] = tenant_column(primary_key=True, autoincrement=False)


class OfTenant:
    """A row of a tenant, in a table whose primary key is one column that is never the same at two tenants.

    The session knows rows by the tenant as well: it hands out none of another's, and all that it sends of
    itself says whose row it is about.
    """

    tenant_id: Mapped[int] = tenant_column()

    @declared_attr.directive
    @classmethod
    def __mapper_args__(cls) -> dict[str, list[str]]:
        [key] = [
            name
            for name, value in vars(cls).items()
            if isinstance(value, MappedColumn) and value.column.primary_key
        ]
        return {"primary_key": ["tenant_id", key]}


def of_tenant() -> ForeignKeyConstraint:
    """Return the foreign key to the tenant, for a table without a parent that has one."""
    return ForeignKeyConstraint(["tenant_id"], ["tenant.id"])


def of_client() -> ForeignKeyConstraint:
    """Return the foreign key to a client of the same tenant."""
    parent = ["client.tenant_id", "client.client_id"]
    return ForeignKeyConstraint(["tenant_id", "client_id"], parent, ondelete="CASCADE")


def of_user(ondelete: str | None = "CASCADE") -> ForeignKeyConstraint:
    """Return the foreign key to a user of the same tenant."""
    parent = ["end_user.tenant_id", "end_user.id"]
    return ForeignKeyConstraint(["tenant_id", "user_id"], parent, ondelete=ondelete)
