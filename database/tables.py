"""The base of all tables, and what each table of a tenant's rows has: `tenant_id`, and keys with it.

In keys and indexes the tenant stands behind the first column, which tells more rows apart. SQLite knows
nothing of how many rows a tenant has: by an index that begins with the tenant it would read all of them.

A new table takes one of the two mixins, and its statements say whose rows they want (`database.tenancy.own`).
"""

from typing import cast

from sqlalchemy import (
    Connection,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    insert,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedColumn, declared_attr, mapped_column

from database.tenancy import current_tenant

NUMBERED = {"sqlite_autoincrement": True}  # a primary key that is never used twice


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


def table(model: type[Base]) -> Table:
    """Return the table of a model: Core statements on it skip the ORM's work, which the token path needs."""
    return cast(Table, model.__table__)


def tenant_column(*, primary_key: bool = False) -> MappedColumn[int]:
    """Return the column that says whose a row is.

    An older version, which knows no tenants, stores rows of `home`: that is what the database fills in.
    """
    return mapped_column(
        Integer,
        primary_key=primary_key,
        autoincrement=False,
        default=current_tenant,
        server_default=text("1"),
        sort_order=-1,
    )


class OfTenant:
    """A row of a tenant.

    The session knows rows by the tenant as well: it hands out none of another's, and all that it sends of
    itself says whose row it is about.
    """

    tenant_id: Mapped[int] = tenant_column()

    @declared_attr.directive
    @classmethod
    def __mapper_args__(cls) -> dict[str, list[str]]:
        keys = [
            name
            for name, value in vars(cls).items()
            if isinstance(value, MappedColumn) and value.column.primary_key
        ]
        return {"primary_key": ["tenant_id", *(name for name in keys if name != "tenant_id")]}


class OfTenantByKey(OfTenant):
    """The same, in a table whose primary key is what a tenant calls the row: see `key`."""

    tenant_id: Mapped[int] = tenant_column(primary_key=True)


def foreign_key(column: str, parent: str, ondelete: str | None) -> ForeignKeyConstraint:
    """Return the foreign key to a row of the same tenant. parent: the table and its key, `table.column`."""
    table = parent.partition(".")[0]
    return ForeignKeyConstraint([column, "tenant_id"], [parent, f"{table}.tenant_id"], ondelete=ondelete)


def of_tenant() -> ForeignKeyConstraint:
    """Return the foreign key to the tenant, for a table without a parent that has one."""
    return ForeignKeyConstraint(["tenant_id"], ["tenant.id"])


def of_client() -> ForeignKeyConstraint:
    """Return the foreign key to a client."""
    return foreign_key("client_id", "client.client_id", "CASCADE")


def of_session() -> ForeignKeyConstraint:
    """Return the foreign key to a session of a user."""
    return foreign_key("session_id", "user_session.id", "CASCADE")


def of_user(ondelete: str | None = "CASCADE") -> ForeignKeyConstraint:
    """Return the foreign key to a user."""
    return foreign_key("user_id", "end_user.id", ondelete)


def of_user_alone() -> ForeignKeyConstraint:
    """Return the foreign key by which an older version removes a user: it does not clear the column first.

    It stands before that of `of_user`: PostgreSQL looks at them in the order in which they were made.
    """
    return ForeignKeyConstraint(["user_id"], ["end_user.id"], ondelete="SET NULL")


def key(column: str, *others: str) -> PrimaryKeyConstraint:
    """Return a primary key for rows that tenants name themselves: two tenants may have the same."""
    return PrimaryKeyConstraint(column, "tenant_id", *others)


def unique(column: str, *others: str) -> UniqueConstraint:
    """Return the rule that no two rows of a tenant have the same values in these columns."""
    return UniqueConstraint(column, "tenant_id", *others)


def index(column: str, *others: str) -> Index:
    """Return an index of a tenant's rows by these columns."""
    return Index(None, column, "tenant_id", *others)


def partial_index(name: str, condition: str, column: str, *others: str) -> Index:
    """Return an index of those of a tenant's rows that fulfil a condition, in SQL; of all on MariaDB."""
    where = text(condition)
    return Index(name, column, "tenant_id", *others, sqlite_where=where, postgresql_where=where)


def add_home(tenants: Table, connection: Connection, **_options: object) -> None:
    """Add the server's own tenant to tables that were made without migrations, as tests do."""
    # It is the first row, so the database gives it the number `HOME`, and the next one to the next.
    connection.execute(insert(tenants), {"name": "home", "created_at": 0})
