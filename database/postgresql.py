"""PostgreSQL: READ COMMITTED, with time-outs given at connect, so that they cost no statement; which errors a
rival caused.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import psycopg
from sqlalchemy import URL, Connection, Engine, NullPool, Select, Table, bindparam, create_engine, event, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError

from database.bounded_connection import BoundedConnection
from database.checks import CheckResult, ServerInfo, may_lose_writes, problem, warning
from database.circuit_breaker import CircuitBreaker
from database.dialect import Change, skip_locked_delete
from database.timeouts import (
    ANSWER_TIMEOUT,
    CONNECT_TIMEOUT,
    IDLE_TRANSACTION_TIMEOUT,
    LOCK_TIMEOUT,
    MIGRATION_LOCK_TIMEOUT,
    POOL_RECYCLE,
    STATEMENT_TIMEOUT,
    milliseconds,
    pool_options,
    seconds,
)

Error = psycopg.Error

# A host that vanished says no goodbye: the kernel finds its idle connections dead before a request does.
# Seconds, milliseconds.
DEAD_PEERS = {
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": milliseconds(ANSWER_TIMEOUT),
}
NEVER = timedelta(0)  # the server's word for a time-out that is off
NEVER_PREPARE = "never"  # in the URL: for a pool that gives each transaction another connection
# SQLSTATE: serialization failure, deadlock, lock time-out; a unique or foreign key that a rival was faster
# at.
LOST_RACE = frozenset({"40001", "40P01", "55P03", "23505", "23503"})
UNAVAILABLE_CLASSES = frozenset({"08", "53", "57", "58", "25", "40", "55"})


def options(url: URL) -> dict[str, Any]:
    connect = connect_options(url, LOCK_TIMEOUT, STATEMENT_TIMEOUT)
    return pool_options() | connect | {"pool_recycle": seconds(POOL_RECYCLE)}


def connect_options(url: URL, lock_timeout: timedelta, statement_timeout: timedelta) -> dict[str, Any]:
    """Options of the URL's own, such as a `search_path`, stay in force in front of ours."""
    session = {
        "default_transaction_isolation": r"read\ committed",
        "lock_timeout": milliseconds(lock_timeout),
        "statement_timeout": milliseconds(statement_timeout),
        "idle_in_transaction_session_timeout": milliseconds(IDLE_TRANSACTION_TIMEOUT),
    }
    given = url.normalized_query.get("options", ())
    connect_args = {
        "options": " ".join([*given, *(f"-c {name}={value}" for name, value in session.items())]),
        "connect_timeout": seconds(CONNECT_TIMEOUT),
        "application_name": "ostiary",
        **DEAD_PEERS,
    }
    if url.query.get("prepare_threshold") == NEVER_PREPARE:
        connect_args["prepare_threshold"] = None  # psycopg's word for it; a URL has texts only
    return {"connect_args": connect_args}


def prepare(engine: Engine) -> None:
    gate = CircuitBreaker()

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Any, record: Any, arguments: Any, named: Any) -> BoundedConnection:
        return gate.connect(lambda: BoundedConnection.connect(*arguments, **named))


def migration_engine(engine: Engine) -> Engine:
    return create_engine(
        engine.url, poolclass=NullPool, **connect_options(engine.url, MIGRATION_LOCK_TIMEOUT, NEVER)
    )


def take_turn(connection: Connection, wait: timedelta) -> bool:
    """By a lock of the table that Alembic writes to, of the kind that only its own kind waits for.

    No advisory lock: a pool that shares its connections by transaction would leave it with another. A
    compatible engine that cannot lock a table has no queue.
    """
    patience = max(milliseconds(wait), 1)  # 0 is without an end
    connection.execute(text(f"SET LOCAL lock_timeout = {patience}"))
    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    try:
        connection.execute(text("LOCK TABLE alembic_version IN SHARE UPDATE EXCLUSIVE MODE"))
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.errors.LockNotAvailable):
            return False
        if isinstance(error.orig, psycopg.errors.FeatureNotSupported | psycopg.errors.SyntaxError):
            return True
        raise
    return True


def upsert(into: Table, key: Sequence[str], change: Change) -> Any:
    statement = postgresql.insert(into)
    return statement.on_conflict_do_update(index_elements=key, set_=change(statement.excluded))


def insert_or_ignore(into: Table, key: str) -> Any:
    return postgresql.insert(into).on_conflict_do_nothing(index_elements=[key])


def delete_batch(session: Any, chosen: Select[Any], parameters: dict[str, Any], count: int) -> None:
    session.execute(skip_locked_delete(chosen, count), parameters)


def check_location(url: URL) -> Iterable[CheckResult]:
    return ()


LOOK = text(
    "SELECT current_setting('server_version_num')::integer AS version,"
    " current_setting('transaction_isolation') AS isolation,"
    " current_setting('max_connections')::integer -"
    " current_setting('superuser_reserved_connections')::integer AS connections,"
    " extract(epoch FROM clock_timestamp()) AS clock, pg_is_in_recovery() AS is_standby,"
    " current_setting('transaction_read_only') = 'on' AS is_read_only"
)
SETTINGS = (
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "synchronous_standby_names",
    "lock_timeout",
    "statement_timeout",
)
UNLOGGED_TABLES = text(
    "SELECT relname FROM pg_class WHERE relname IN :tables AND relpersistence = 'u' AND"
    " pg_table_is_visible(oid)"
).bindparams(bindparam("tables", expanding=True))
ASK_SETTINGS = text("SELECT " + ", ".join(f"current_setting('{name}', true) AS {name}" for name in SETTINGS))


def read_server_info(connection: Connection) -> ServerInfo:
    told = connection.execute(LOOK).one()
    return ServerInfo(
        "PostgreSQL",
        (told.version // 10_000, told.version % 10_000),
        minimum_version=(15,),
        isolation=told.isolation,
        connections=told.connections,
        clock=float(told.clock),
        is_read_only=told.is_standby or told.is_read_only,
    )


def run_checks(connection: Connection, tables: Collection[str]) -> Iterator[CheckResult]:
    told = connection.execute(ASK_SETTINGS).one()
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        if getattr(told, name) == "off":
            yield may_lose_writes(f"{name} is off on the PostgreSQL server, switch it on")
    if told.synchronous_commit == "local" and told.synchronous_standby_names:
        yield may_lose_writes("synchronous_commit is local, so nobody waits for the standby: set it to on")
    for name in connection.scalars(UNLOGGED_TABLES, {"tables": list(tables)}):
        yield problem(
            f"the table {name} is not logged, and emptied by a crash: ALTER TABLE {name} SET LOGGED"
        )
    if "0" in (told.lock_timeout, told.statement_timeout):
        yield warning(
            "the time-outs that are set at connect are not in force: a pool in between has to pass"
            " `options` on, or the server's"
            f" account needs lock_timeout = {milliseconds(LOCK_TIMEOUT)} and statement_timeout ="
            f" {milliseconds(STATEMENT_TIMEOUT)}"
        )


def code_of(error: Any) -> str:
    return error.sqlstate or ""


def constraint_of(error: Any) -> str:
    return error.diag.constraint_name or ""


def lost_a_race(error: Any) -> bool:
    return error.sqlstate in LOST_RACE


def is_unavailable(error: Any) -> bool:
    if error.sqlstate is not None:
        return error.sqlstate[:2] in UNAVAILABLE_CLASSES
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | psycopg.InternalError)
