"""PostgreSQL through psycopg: READ COMMITTED, time-outs, checks, and what an error means.

Everything is set when connecting, so that it costs no statement.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta

import psycopg
from sqlalchemy import URL, Connection, Engine, Insert, NullPool, Table, bindparam, create_engine, event, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine.interfaces import Dialect as SqlDialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from database.bounded_connection import BoundedConnection, begin_late
from database.checks import CheckResult, ServerInfo, may_lose_writes, problem, warning
from database.circuit_breaker import CircuitBreaker
from database.dialect import Arguments, Change, KeySelect, skip_locked_delete
from database.execution import before_execution
from database.tenancy import conflict_criterion
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
CAN_LOCK_ONE_OF_A_JOIN = True  # FOR NO KEY UPDATE OF

# A host that is gone closes no connection: so the kernel finds dead idle connections before a request does.
# Seconds; the last one in milliseconds.
DEAD_PEERS = {
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": milliseconds(ANSWER_TIMEOUT),
}
TABLE_LOCK_TIMEOUT = timedelta(milliseconds=500)
NEVER = timedelta(0)  # for the server, a time-out that is off
NEVER_PREPARE = "never"  # in the URL, for a pool that gives each transaction another connection
# SQLSTATE: serialization failure, deadlock, lock time-out; a unique or foreign key that another transaction
# wrote first.
LOST_RACE = frozenset({"40001", "40P01", "55P03", "23505", "23503"})
UNAVAILABLE_CLASSES = frozenset({"08", "53", "57", "58", "25", "40", "55"})


def options(url: URL) -> Arguments:
    """Return the arguments of `create_engine`."""
    connect = connect_options(url, LOCK_TIMEOUT, STATEMENT_TIMEOUT)
    return pool_options() | connect | {"pool_recycle": seconds(POOL_RECYCLE)}


def connect_options(url: URL, lock_timeout: timedelta, statement_timeout: timedelta) -> Arguments:
    """Return the arguments that set up each connection.

    Options in the URL, such as a `search_path`, stay in force: they come before ours.
    """
    session = {
        "default_transaction_isolation": r"read\ committed",
        "lock_timeout": milliseconds(lock_timeout),
        "statement_timeout": milliseconds(statement_timeout),
        "idle_in_transaction_session_timeout": milliseconds(IDLE_TRANSACTION_TIMEOUT),
    }
    given = url.normalized_query.get("options", ())
    connect_args: Arguments = {
        "options": " ".join([*given, *(f"-c {name}={value}" for name, value in session.items())]),
        "connect_timeout": seconds(CONNECT_TIMEOUT),
        "application_name": "ostiary",
        **DEAD_PEERS,
    }
    if url.query.get("prepare_threshold") == NEVER_PREPARE:
        connect_args["prepare_threshold"] = None  # psycopg wants None, and a URL has texts only
    return {"connect_args": connect_args}


def prepare(engine: Engine) -> None:
    """Add the listeners that connect, and begin transactions."""
    breaker = CircuitBreaker()

    @event.listens_for(engine, "do_connect")
    def connect(
        dialect: SqlDialect, record: ConnectionPoolEntry, arguments: list[str], named: Arguments
    ) -> BoundedConnection:
        return breaker.connect(lambda: BoundedConnection.connect(*arguments, **named, autocommit=True))

    before_execution(engine, begin_late)


def migration_engine(engine: Engine) -> Engine:
    """Return an engine without the short time-outs of requests, which keeps no connection open."""
    connect = connect_options(engine.url, MIGRATION_LOCK_TIMEOUT, NEVER)
    return create_engine(engine.url, poolclass=NullPool, **connect)


def lock_for_migration(connection: Connection, wait: timedelta) -> bool:
    """Return whether the transaction got a lock on Alembic's table that only migrations wait for.

    It is no advisory lock: a pool that shares its connections by transaction would leave it with another
    client. A compatible database that cannot lock a table gets no lock at all.
    """
    timeout = max(milliseconds(wait), 1)  # 0 would be without limit
    connection.execute(text(f"SET LOCAL lock_timeout = {timeout}"))
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


def lock_tables(connection: Connection, tables: Collection[str]) -> None:
    """Lock tables until the transaction ends; raise an error where that takes long.

    It waits for less than the second after which the server looks for deadlocks, so requests go on.
    """
    connection.execute(text(f"SET LOCAL lock_timeout = {milliseconds(TABLE_LOCK_TIMEOUT)}"))
    connection.execute(text(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE"))


def find_orphans(connection: Connection) -> Iterable[str]:
    """Return nothing: foreign keys are enforced at all times."""
    return ()


def upsert(into: Table, key: Sequence[str], change: Change) -> Insert:
    """Return an INSERT that updates the row where there is one with this key."""
    statement = postgresql.insert(into)
    where = conflict_criterion(into, key)
    return statement.on_conflict_do_update(index_elements=key, set_=change(statement.excluded), where=where)


def insert_or_ignore(into: Table, key: str) -> Insert:
    """Return an INSERT that does nothing where there is a row with this key."""
    return postgresql.insert(into).on_conflict_do_nothing(index_elements=[key])


def delete_batch(
    connection: Connection, chosen: KeySelect, parameters: Mapping[str, object], count: int
) -> None:
    """Delete the first `count` chosen rows, and skip those that are locked."""
    connection.execute(skip_locked_delete(chosen, count), parameters)


def check_location(url: URL) -> Iterable[CheckResult]:
    """Return nothing: a server may be anywhere."""
    return ()


SERVER_INFO = text(
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
CURRENT_SETTINGS = text(
    "SELECT " + ", ".join(f"current_setting('{name}', true) AS {name}" for name in SETTINGS)
)


def read_server_info(connection: Connection) -> ServerInfo:
    """Return what the server says of itself. One SELECT."""
    row = connection.execute(SERVER_INFO).one()
    return ServerInfo(
        "PostgreSQL",
        (row.version // 10_000, row.version % 10_000),
        minimum_version=(15,),
        isolation=row.isolation,
        connections=row.connections,
        clock=float(row.clock),
        is_read_only=row.is_standby or row.is_read_only,
    )


def run_checks(connection: Connection, tables: Collection[str]) -> Iterator[CheckResult]:
    """Return what is wrong with the server's settings, and with tables that are not logged."""
    row = connection.execute(CURRENT_SETTINGS).one()
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        if getattr(row, name) == "off":
            yield may_lose_writes(f"{name} is off on the PostgreSQL server, switch it on")
    if row.synchronous_commit == "local" and row.synchronous_standby_names:
        yield may_lose_writes("synchronous_commit is local, so nobody waits for the standby: set it to on")
    for name in connection.scalars(UNLOGGED_TABLES, {"tables": list(tables)}):
        yield problem(
            f"the table {name} is not logged, and emptied by a crash: ALTER TABLE {name} SET LOGGED"
        )
    if "0" in (row.lock_timeout, row.statement_timeout):
        yield warning(
            "the time-outs that are set at connect are not in force: a pool in between has to pass"
            " `options` on, or the server's"
            f" account needs lock_timeout = {milliseconds(LOCK_TIMEOUT)} and statement_timeout ="
            f" {milliseconds(STATEMENT_TIMEOUT)}"
        )


def code_of(error: BaseException | None) -> str:
    """Return the SQLSTATE of an error; "" where the server sent none."""
    return (error.sqlstate if isinstance(error, Error) else None) or ""


def constraint_of(error: BaseException | None) -> str:
    """Return the name of the violated constraint, or ""."""
    return (error.diag.constraint_name if isinstance(error, Error) else None) or ""


def lost_a_race(error: BaseException | None) -> bool:
    """Return whether another transaction was faster, so that a second try can succeed."""
    return code_of(error) in LOST_RACE


def is_unavailable(error: BaseException | None) -> bool:
    """Return whether the database failed, and not the statement."""
    if sqlstate := code_of(error):
        return sqlstate[:2] in UNAVAILABLE_CLASSES
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | psycopg.InternalError)
