"""What differs between SQLite, PostgreSQL and MariaDB: connections, transactions, what an error means.

Other rooms call the functions of this file. Each database has a file of its own, with what
`database/dialect.py` lists.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from sqlalchemy import Connection, Engine, Insert, Table, make_url
from sqlalchemy.exc import DBAPIError

from database import mariadb, postgresql, sqlite
from database.checks import CheckResult, check_server
from database.dialect import Arguments, Change, Dialect, KeySelect, NewRow
from database.lock_file import LockFile
from database.timeouts import POOL_SIZE

__all__ = ["POOL_SIZE", "CheckResult", "LockFile", "NewRow"]

DIALECTS: dict[str, Dialect] = {"sqlite": sqlite, "postgresql": postgresql, "mariadb": mariadb}


def is_memory(url: str) -> bool:
    """Return whether a URL names an in-memory SQLite database."""
    parsed = make_url(url)
    return parsed.get_backend_name() == "sqlite" and sqlite.is_memory(parsed)


def is_there(url: str) -> bool:
    """Return False where connecting would create an empty database: a new SQLite file.

    Opens no connection.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or sqlite.is_memory(parsed):
        return True
    file = os.path.abspath(parsed.database or "")
    # where even the folder is missing, connecting fails and says why
    return os.path.exists(file) or not os.path.isdir(os.path.dirname(file))


def engine_options(url: str) -> Arguments:
    """Return the arguments of `create_engine` for a URL."""
    parsed = make_url(url)
    return DIALECTS[parsed.get_backend_name()].options(parsed)


def prepare(engine: Engine) -> None:
    """Add the event listeners of its database to an engine that has not connected yet."""
    DIALECTS[engine.dialect.name].prepare(engine)


def migration_engine(engine: Engine) -> Engine:
    """Return an engine for migrations: it waits longer than requests may, and keeps no connection open."""
    return DIALECTS[engine.dialect.name].migration_engine(engine)


def lock_tables(connection: Connection, tables: Collection[str]) -> None:
    """Lock tables until the migration's transaction ends, where the database can do that over an ALTER."""
    DIALECTS[connection.dialect.name].lock_tables(connection, tables)


def find_orphans(connection: Connection) -> list[str]:
    """Return the tables in which a migration left rows whose parents are missing."""
    return list(DIALECTS[connection.dialect.name].find_orphans(connection))


def lock_for_migration(connection: Connection, wait: timedelta) -> bool:
    """Return whether this connection, of a migration engine, got the migration lock within `wait`.

    Only one connection can hold it. It does so until it is closed, or on PostgreSQL until its transaction
    ends.
    """
    return DIALECTS[connection.dialect.name].lock_for_migration(connection, wait)


def migration_lock_ends_with_transaction(dialect: str) -> bool:
    """Return whether the migration lock ends with a transaction: migrations need another connection then."""
    return dialect == "postgresql"


def can_lock_one_of_a_join(dialect: str) -> bool:
    """Return whether a SELECT that joins can lock the rows of one table, `with_for_update(of=…)`."""
    return DIALECTS[dialect].CAN_LOCK_ONE_OF_A_JOIN


def upsert(dialect: str, into: Table, key: str | Sequence[str], change: Change) -> Insert:
    """Return an INSERT that updates the existing row where there is one with the same `key`.

    key: a column, or several that are unique together. change: from the row that would have been inserted to
    the columns to set.
    """
    return DIALECTS[dialect].upsert(into, [key] if isinstance(key, str) else key, change)


def insert_or_ignore(dialect: str, into: Table, key: str) -> Insert:
    """Return an INSERT that does nothing where `key` exists already; then its RETURNING returns no row."""
    return DIALECTS[dialect].insert_or_ignore(into, key)


def delete_batch(
    connection: Connection, chosen: KeySelect, parameters: Mapping[str, object], count: int
) -> None:
    """Delete the first `count` rows that `chosen` selects by their primary key, and lock no others.

    Rows that another transaction has locked are skipped where the database can do that.
    """
    DIALECTS[connection.dialect.name].delete_batch(connection, chosen, parameters, count)


def check_location(url: str) -> list[CheckResult]:
    """Return what is wrong with the place of a database. Opens no connection."""
    parsed = make_url(url)
    return list(DIALECTS[parsed.get_backend_name()].check_location(parsed))


def run_checks(connection: Connection, tables: Collection[str], processes: int) -> list[CheckResult]:
    """Return what is wrong with the database, and what to do about it. Takes a few SELECTs.

    tables: the names of ours. processes: worker processes of this node.
    """
    dialect = DIALECTS[connection.dialect.name]
    return [
        *dialect.check_location(connection.engine.url),
        *check_server(dialect.read_server_info(connection), processes),
        *dialect.run_checks(connection, tables),
    ]


def dialect_of(error: DBAPIError) -> Dialect | None:
    """Return the dialect whose driver raised an error, or None."""
    return next((dialect for dialect in DIALECTS.values() if isinstance(error.orig, dialect.Error)), None)


def lost_a_race(error: DBAPIError) -> bool:
    """Return whether the whole request is likely to succeed when it runs again from the start."""
    dialect = dialect_of(error)
    return dialect is not None and dialect.lost_a_race(error.orig)


def is_unavailable(error: DBAPIError) -> bool:
    """Return whether the database failed and not the statement: the answer is 503 then."""
    if error.connection_invalidated or lost_a_race(error):
        return True
    dialect = dialect_of(error)
    return dialect is not None and dialect.is_unavailable(error.orig)


def describe(error: DBAPIError) -> str:
    """Return what the database refused, without the values of the statement."""
    dialect = dialect_of(error)
    words = [type(error.orig).__name__]
    if dialect is not None:
        words += [dialect.code_of(error.orig), dialect.constraint_of(error.orig)]
    return " ".join(filter(None, words))
