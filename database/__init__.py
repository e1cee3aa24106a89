"""What differs between SQLite, PostgreSQL and MariaDB: connections, transactions, what an error means.

The functions here are for everybody; each engine has a file of its own, with what `database/dialect.py`
lists.
"""

import os
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Select, Table, make_url
from sqlalchemy.exc import DBAPIError

from database import mariadb, postgresql, sqlite
from database.checks import CheckResult, check_server
from database.dialect import Change, Dialect
from database.lock_file import LockFile
from database.timeouts import POOL_SIZE

__all__ = ["POOL_SIZE", "CheckResult", "LockFile"]

ENGINES: dict[str, Dialect] = {"sqlite": sqlite, "postgresql": postgresql, "mariadb": mariadb}


def is_memory(url: str) -> bool:
    parsed = make_url(url)
    return parsed.get_backend_name() == "sqlite" and sqlite.is_memory(parsed)


def is_there(url: str) -> bool:
    """False where connecting would make an empty database: an SQLite file. Opens no connection."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or sqlite.is_memory(parsed):
        return True
    file = os.path.abspath(parsed.database or "")
    # connecting will say what is wrong there
    return os.path.exists(file) or not os.path.isdir(os.path.dirname(file))


def engine_options(url: str) -> dict[str, Any]:
    """Arguments of `create_engine` for this URL."""
    parsed = make_url(url)
    return ENGINES[parsed.get_backend_name()].options(parsed)


def prepare(engine: Engine) -> None:
    """Attach what this database needs to an engine that has not connected yet."""
    ENGINES[engine.dialect.name].prepare(engine)


def migration_engine(engine: Engine) -> Engine:
    """An engine on the same database for migrations: they may take their time, requests may not.

    It keeps no connection open.
    """
    return ENGINES[engine.dialect.name].migration_engine(engine)


def take_turn(connection: Connection, wait: timedelta) -> bool:
    """Whether this connection, of a migration engine, is the one to migrate now.

    For as long as it is open nobody else's is.
    """
    return ENGINES[connection.dialect.name].take_turn(connection, wait)


def turn_is_a_transaction(dialect: str) -> bool:
    """Whether a turn ends with its transaction, so that the migrations need another connection."""
    return dialect == "postgresql"


def upsert(dialect: str, into: Table, key: str | Sequence[str], change: Change) -> Any:
    """An INSERT that changes the row instead where `key` is there already: one statement, whoever else does
    the same.

    key: a column, or several that are unique together. change: from the row that would have been inserted to
    the columns to set.
    """
    return ENGINES[dialect].upsert(into, [key] if isinstance(key, str) else key, change)


def insert_or_ignore(dialect: str, into: Table, key: str) -> Any:
    """An INSERT that does nothing where `key` is there already; then RETURNING returns no row."""
    return ENGINES[dialect].insert_or_ignore(into, key)


def delete_batch(session: Any, chosen: Select[Any], parameters: dict[str, Any], count: int) -> None:
    """Delete the first `count` rows of those whose primary key `chosen` selects, from one table, and lock no
    others.

    Those that somebody else has locked are passed over where the database can do that.
    """
    ENGINES[session.get_bind().dialect.name].delete_batch(session, chosen, parameters, count)


def check_location(url: str) -> list[CheckResult]:
    """What is odd about where a database is; asks nobody."""
    parsed = make_url(url)
    return list(ENGINES[parsed.get_backend_name()].check_location(parsed))


def run_checks(connection: Connection, tables: Collection[str], processes: int) -> list[CheckResult]:
    """What is odd about the database, and what to do about it. A few SELECTs.

    tables: ours. processes: worker processes of this node.
    """
    engine = ENGINES[connection.dialect.name]
    return [
        *engine.check_location(connection.engine.url),
        *check_server(engine.read_server_info(connection), processes),
        *engine.run_checks(connection, tables),
    ]


def engine_of(error: DBAPIError) -> Dialect | None:
    return next((engine for engine in ENGINES.values() if isinstance(error.orig, engine.Error)), None)


def lost_a_race(error: DBAPIError) -> bool:
    """Whether running the whole request again, from a clean start, can be expected to succeed."""
    engine = engine_of(error)
    return engine is not None and engine.lost_a_race(error.orig)


def is_unavailable(error: DBAPIError) -> bool:
    """Whether the database, and not the statement, is what went wrong: answered 503."""
    if error.connection_invalidated or lost_a_race(error):
        return True
    engine = engine_of(error)
    return engine is not None and engine.is_unavailable(error.orig)


def describe(error: DBAPIError) -> str:
    """What the database refused, without the values of the statement."""
    engine = engine_of(error)
    words = [type(error.orig).__name__]
    if engine is not None:
        words += [engine.code_of(error.orig), engine.constraint_of(error.orig)]
    return " ".join(filter(None, words))
