"""Every row belongs to a tenant, and what is there to `home`: keys, indexes and references name it.

The version before goes on: it knows no tenants, and what it stores gets the default, home. PostgreSQL and
MariaDB exchange keys in place, SQLite copies each table. On MariaDB each ALTER is a transaction of its own,
and leaves out what is done already: a run that was cut off goes on.

Revision: 0009, after 0008.
"""

import time
from typing import NamedTuple

import sqlalchemy as sa
from alembic import op

from commands.transaction import CommandError
from unit_of_work import lock_tables

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

HOME = 1
TENANT_COLUMN = f"INTEGER DEFAULT {HOME} NOT NULL"
ADD_TENANT = f"ADD COLUMN tenant_id {TENANT_COLUMN}"
DROP_TENANT = "DROP COLUMN tenant_id"
MEANWHILE = "uq_client_meanwhile"


class Key(NamedTuple):
    """A primary key or a unique key."""

    kind: str
    columns: str

    def name(self, table: str) -> str:
        columns = self.columns.replace(", ", "_")
        return f"pk_{table}" if self.kind == "PRIMARY KEY" else f"uq_{table}_{columns}"

    def clause(self, table: str) -> str:
        return f"CONSTRAINT {self.name(table)} {self.kind} ({self.columns})"


class Reference(NamedTuple):
    """A foreign key."""

    columns: str
    parent: str
    parent_columns: str
    on_delete: str = " ON DELETE CASCADE"

    def name(self, table: str) -> str:
        return f"fk_{table}_{self.columns.replace(', ', '_')}_{self.parent}"

    def clause(self, table: str) -> str:
        target = f"{self.parent} ({self.parent_columns}){self.on_delete}"
        return f"CONSTRAINT {self.name(table)} FOREIGN KEY ({self.columns}) REFERENCES {target}"


class Index(NamedTuple):
    """An index. where: of which rows, but on MariaDB, whose indexes are of all rows."""

    columns: str
    own_name: str = ""
    where: str = ""

    def name(self, table: str) -> str:
        return self.own_name or f"ix_{table}_{self.columns.replace(', ', '_')}"


class Check(NamedTuple):
    own_name: str
    condition: str

    def clause(self, table: str) -> str:
        return f"CONSTRAINT ck_{table}_{self.own_name} CHECK ({self.condition})"


class Change(NamedTuple):
    """What a table has before, after, and all the time. `is_counted`: it numbers its rows."""

    before: list[Key | Reference | Index] = []
    after: list[Key | Reference | Index] = []
    kept: list[Key | Reference | Index | Check] = []
    is_counted: bool = False


def primary(columns: str) -> Key:
    return Key("PRIMARY KEY", columns)


def unique(columns: str) -> Key:
    return Key("UNIQUE", columns)


OF_TENANT = Reference("tenant_id", "tenant", "id", "")
OLD_CLIENT = Reference("client_id", "client", "client_id")
CLIENT = Reference("client_id, tenant_id", "client", "client_id, tenant_id")
OLD_USER = Reference("user_id", "end_user", "id")
USER = Reference("user_id, tenant_id", "end_user", "id, tenant_id")
OLD_SESSION = Reference("session_id", "user_session", "id")
SESSION = Reference("session_id, tenant_id", "user_session", "id, tenant_id")
# A notice outlives its user. SET NULL would clear the tenant too: who removes the user does it first. The
# version before does not, and leans on the old reference, which is looked at first because it is older.
NOTICE_OLD_USER = OLD_USER._replace(on_delete=" ON DELETE SET NULL")
NOTICE_USER = USER._replace(on_delete="")
MACHINES = ("ix_token_machine", " WHERE user_id IS NULL")

# Parents first: MariaDB changes one table after the other.
CHANGES = {
    "client": Change([primary("client_id")], [primary("client_id, tenant_id"), OF_TENANT]),
    "end_user": Change(
        [unique("sub"), unique("email")],
        [unique("id, tenant_id"), unique("sub, tenant_id"), unique("email, tenant_id"), OF_TENANT],
        is_counted=True,
    ),
    "scope": Change([primary("name")], [primary("name, tenant_id"), OF_TENANT]),
    "signing_key": Change(
        [unique("alg, generation")], [unique("tenant_id, alg, generation"), OF_TENANT], [primary("kid")]
    ),
    "user_session": Change(
        [OLD_USER, Index("user_id, created_at")],
        [USER, unique("id, tenant_id"), Index("user_id, tenant_id, created_at")],
        [unique("session_digest")],
        is_counted=True,
    ),
    "client_session": Change(
        [OLD_SESSION, OLD_CLIENT, Index("client_id")],
        [SESSION, CLIENT, Index("session_id, tenant_id"), Index("client_id, tenant_id")],
        [primary("sid"), unique("session_id, client_id")],
    ),
    "client_origin": Change(
        [OLD_CLIENT, primary("client_id, origin"), Index("origin")],
        [CLIENT, primary("client_id, tenant_id, origin"), Index("origin, tenant_id")],
    ),
    "client_secret_use": Change(
        [OLD_CLIENT, primary("client_id, number")], [CLIENT, primary("client_id, tenant_id, number")]
    ),
    "logout_notice": Change(
        [OLD_CLIENT, Index("user_id, id"), Index("client_id")],
        [NOTICE_USER, CLIENT, Index("user_id, tenant_id, id"), Index("client_id, tenant_id")],
        [NOTICE_OLD_USER, Index("next_attempt_at")],
        is_counted=True,
    ),
    "authorization_ticket": Change(
        [OLD_CLIENT, Index("client_id"), Index("browser_digest")],
        [CLIENT, Index("client_id, tenant_id"), Index("browser_digest, tenant_id")],
        [primary("ticket_digest"), Index("expires_at")],
    ),
    "form_answer": Change([], [OF_TENANT], [primary("form_digest"), Index("expires_at")]),
    "consent": Change(
        [OLD_USER, OLD_CLIENT, primary("user_id, client_id"), Index("client_id")],
        [USER, CLIENT, primary("user_id, tenant_id, client_id"), Index("client_id, tenant_id")],
    ),
    "authorization_code": Change(
        [OLD_CLIENT, OLD_USER, Index("client_id"), Index("user_id")],
        [CLIENT, USER, Index("client_id, tenant_id"), Index("user_id, tenant_id")],
        [primary("code_digest"), Index("expires_at")],
    ),
    "token": Change(
        [OLD_CLIENT, unique("client_id, user_id, slot"), Index("user_id"), Index("family_digest")]
        + [Index("code_digest"), Index("client_id, access_token_expires_at", *MACHINES)],
        [CLIENT, unique("client_id, tenant_id, user_id, slot"), Index("user_id, tenant_id")]
        + [Index("family_digest, tenant_id"), Index("code_digest, tenant_id, client_id")]
        + [Index("client_id, tenant_id, access_token_expires_at", *MACHINES)],
        [unique("access_token_digest"), Check("slot_for_a_person", "(user_id IS NULL) = (slot IS NULL)")],
        is_counted=True,
    ),
    "throttle": Change([], [OF_TENANT], [primary("bucket_digest"), Index("expires_at")]),
    "spent_assertion": Change([], [OF_TENANT], [primary("jti_digest"), Index("expires_at")]),
}


def upgrade() -> None:
    lock_tables(op.get_bind(), [*CHANGES])
    add_home()
    EXCHANGE[op.get_bind().dialect.name](CHANGES, has_tenants=True)


def downgrade() -> None:
    lock_tables(op.get_bind(), ["tenant", *CHANGES])
    refuse_other_tenants()
    back = {
        table: change._replace(before=change.after, after=change.before)
        for table, change in reversed(CHANGES.items())
    }
    EXCHANGE[op.get_bind().dialect.name](back, has_tenants=False)
    if sa.inspect(op.get_bind()).has_table("tenant"):
        op.drop_table("tenant")


def add_home() -> None:
    """Make the table of tenants, with its first row."""
    if not sa.inspect(op.get_bind()).has_table("tenant"):
        op.create_table(
            "tenant",
            sa.Column("id", sa.Integer(), nullable=False),
            sa.Column("name", sa.String(40), nullable=False),
            sa.Column("issuer", sa.String(300), nullable=True),
            sa.Column("settings", sa.JSON(), nullable=False),
            sa.Column("branding", sa.JSON(), nullable=False),
            sa.Column("created_at", sa.BigInteger(), nullable=False),
            sa.Column("disabled_at", sa.BigInteger(), nullable=True),
            sa.PrimaryKeyConstraint("id", name="pk_tenant"),
            sa.UniqueConstraint("name", name="uq_tenant_name"),
            sa.UniqueConstraint("issuer", name="uq_tenant_issuer"),
            sqlite_autoincrement=True,
        )
    if op.get_bind().scalar(sa.text("SELECT count(*) FROM tenant")) == 0:
        # With its number: nodes of a Galera cluster count by other numbers.
        op.execute(
            "INSERT INTO tenant (id, name, settings, branding, created_at)"
            f" VALUES ({HOME}, 'home', '{{}}', '{{}}', {int(time.time())})"
        )
        if op.get_bind().dialect.name == "postgresql":  # which counts only the rows that it numbered itself
            op.execute(f"ALTER SEQUENCE tenant_id_seq RESTART WITH {HOME + 1}")


def refuse_other_tenants() -> None:
    """Raise CommandError where another tenant than home is registered: no row has a tenant that is not."""
    connection = op.get_bind()
    if not sa.inspect(connection).has_table("tenant"):  # on MariaDB: a run that was cut off goes on
        return
    names = connection.scalars(sa.text(f"SELECT name FROM tenant WHERE id <> {HOME} ORDER BY id")).all()
    if names:
        raise CommandError(
            "the version before knows one tenant, home, and would take all rows for its own. There are others:"
            f" {', '.join(names[:5])}. Remove them first, or restore the back-up."
        )


def columns_of(table: str) -> list[str]:
    return [column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)]


def create_index(table: str, index: Index) -> None:
    op.execute(f"CREATE INDEX {index.name(table)} ON {table} ({index.columns}){index.where}")


# PostgreSQL


def exchange_in_place(changes: dict[str, Change], has_tenants: bool) -> None:
    """Exchange keys on PostgreSQL: those that others refer to must wait until nothing refers to them."""
    if has_tenants:
        for table in changes:
            alter(table, [ADD_TENANT])
    for table, change in changes.items():
        alter(table, [drop(table, old) for old in change.before if isinstance(old, Reference)])
    for table, change in changes.items():
        keys = [drop(table, old) for old in change.before if isinstance(old, Key)]
        alter(table, keys + [f"ADD {new.clause(table)}" for new in change.after if isinstance(new, Key)])
        for old in change.before:
            if isinstance(old, Index):
                op.execute(f"DROP INDEX {old.name(table)}")
        for new in change.after:
            if isinstance(new, Index):
                create_index(table, new)
    for table, change in changes.items():
        alter(table, [f"ADD {new.clause(table)}" for new in change.after if isinstance(new, Reference)])
    if not has_tenants:
        for table in changes:
            alter(table, [DROP_TENANT])


def drop(table: str, constraint: Key | Reference) -> str:
    return f"DROP CONSTRAINT {constraint.name(table)}"


def alter(table: str, clauses: list[str]) -> None:
    if clauses:
        op.execute(f"ALTER TABLE {table} {', '.join(clauses)}")


# SQLite


def copy_tables(changes: dict[str, Change], has_tenants: bool) -> None:
    """Copy each table on SQLite into one with the other keys."""
    if op.get_bind().scalar(sa.text("PRAGMA foreign_keys")):
        raise RuntimeError("foreign keys are enforced: to drop a copied table would delete what refers to it")
    for table, change in changes.items():
        copy_table(table, change, has_tenants)


def copy_table(table: str, change: Change, has_tenants: bool) -> None:
    """Copy a table with its rows, with the number that AUTOINCREMENT has come to, and with what an operator
    has added: columns, indexes, triggers.
    """
    connection = op.get_bind()
    others = others_of(table, change)
    last_number = connection.scalar(
        sa.text("SELECT seq FROM sqlite_sequence WHERE name = :name"), {"name": table}
    )
    rows = connection.execute(sa.text(f"PRAGMA table_info({table})")).all()
    columns = {row.name: definition(row, change.is_counted) for row in rows if row.name != "tenant_id"}
    lines = [f"tenant_id {TENANT_COLUMN}"] if has_tenants else []
    lines += columns.values()
    lines += [item.clause(table) for item in [*change.kept, *change.after] if not isinstance(item, Index)]
    names = ", ".join(columns)
    op.execute(f"CREATE TABLE {table}_copy ({', '.join(lines)})")
    op.execute(f"INSERT INTO {table}_copy ({names}) SELECT {names} FROM {table}")
    if last_number is not None:  # DROP TABLE forgets it, RENAME takes it along
        op.execute(f"DELETE FROM sqlite_sequence WHERE name = '{table}_copy'")
        op.execute(f"INSERT INTO sqlite_sequence (name, seq) VALUES ('{table}_copy', {last_number})")
    op.execute(f"DROP TABLE {table}")
    op.execute(f"ALTER TABLE {table}_copy RENAME TO {table}")
    for item in [*change.kept, *change.after]:
        if isinstance(item, Index):
            create_index(table, item)
    for sql in others:
        connection.exec_driver_sql(sql)


def definition(column: sa.Row, is_counted: bool) -> str:
    """Return what CREATE TABLE says of a column, from a row of PRAGMA table_info."""
    if is_counted and column.name == "id":
        return "id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT"
    default = "" if column.dflt_value is None else f" DEFAULT {column.dflt_value}"
    return f"{column.name} {column.type}{default}{' NOT NULL' if column.notnull else ''}"


def others_of(table: str, change: Change) -> list[str]:
    """Return the statements that made the indexes and triggers of a table which are not ours."""
    ours = {item.name(table) for item in [*change.before, *change.kept] if isinstance(item, Index)}
    made = sa.text(
        "SELECT name, sql FROM sqlite_master"
        " WHERE tbl_name = :table AND type IN ('index', 'trigger') AND sql IS NOT NULL"
    )
    return [row.sql for row in op.get_bind().execute(made, {"table": table}) if row.name not in ours]


# MariaDB


def alter_step_by_step(changes: dict[str, Change], has_tenants: bool) -> None:
    """Exchange keys on MariaDB, in one ALTER for each table.

    Only `client` takes two: it has both keys while the tables that refer to it go from one to the other.
    """
    [key] = [item for item in changes["client"].after if isinstance(item, Key)]
    client = State("client")
    if not client.has(key, "client") and MEANWHILE not in client.indexes:
        columns = [ADD_TENANT] if has_tenants and not client.has_tenants else []
        alter("client", [*columns, f"ADD UNIQUE {MEANWHILE} ({key.columns})"])
    for table in [*(table for table in changes if table != "client"), "client"]:
        state, change = State(table), changes[table]
        clauses = [ADD_TENANT] if has_tenants and not state.has_tenants else []
        clauses += [without(table, old) for old in change.before if state.has(old, table)]
        clauses += [added(table, new) for new in change.after if not state.has(new, table)]
        clauses += [f"DROP INDEX {MEANWHILE}"] if MEANWHILE in state.indexes else []
        clauses += [DROP_TENANT] if state.has_tenants and not has_tenants else []
        alter(table, clauses)


class State:
    """What a table has by now."""

    def __init__(self, table: str) -> None:
        there = sa.inspect(op.get_bind())
        self.has_tenants = "tenant_id" in columns_of(table)
        self.primary_key = ", ".join(there.get_pk_constraint(table)["constrained_columns"])
        self.indexes = {index["name"]: ", ".join(index["column_names"]) for index in there.get_indexes(table)}
        self.references = {reference["name"] for reference in there.get_foreign_keys(table)}

    def has(self, item: Key | Reference | Index, table: str) -> bool:
        if isinstance(item, Reference):
            return item.name(table) in self.references
        if isinstance(item, Key) and item.kind == "PRIMARY KEY":
            return item.columns == self.primary_key
        return self.indexes.get(item.name(table)) == item.columns


def without(table: str, old: Key | Reference | Index) -> str:
    if isinstance(old, Reference):
        return f"DROP FOREIGN KEY {old.name(table)}"
    if isinstance(old, Key) and old.kind == "PRIMARY KEY":
        return "DROP PRIMARY KEY"
    return f"DROP INDEX {old.name(table)}"


def added(table: str, new: Key | Reference | Index) -> str:
    if isinstance(new, Index):
        return f"ADD INDEX {new.name(table)} ({new.columns})"
    return f"ADD {new.clause(table)}"


EXCHANGE = {"postgresql": exchange_in_place, "sqlite": copy_tables, "mariadb": alter_step_by_step}
