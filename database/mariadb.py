"""MariaDB through PyMySQL: READ COMMITTED, time-outs, strict mode, exact comparison, and what an error means.

Under its default isolation, REPEATABLE READ, requests for different rows can deadlock, because they lock the
same gap between rows. Its default collations take `Code` for `code`, and nearly all of them take `code ` for
it too. So tables are created with a collation that compares every character.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta

import pymysql
from sqlalchemy import (
    JSON,
    URL,
    Connection,
    Delete,
    Engine,
    ExceptionContext,
    Insert,
    NullPool,
    Table,
    bindparam,
    case,
    create_engine,
    event,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.engine.interfaces import Dialect as SqlDialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql.compiler import DDLCompiler, SQLCompiler, TypeCompiler

from database.checks import CheckResult, ServerInfo, may_lose_writes, problem, warning
from database.circuit_breaker import CircuitBreaker
from database.dialect import Arguments, Change, KeySelect
from database.execution import before_execution, only_reads
from database.late_connection import LateConnection
from database.timeouts import (
    ANSWER_TIMEOUT,
    CONNECT_TIMEOUT,
    IDLE_TRANSACTION_TIMEOUT,
    LOCK_TIMEOUT,
    MIGRATION_LOCK_TIMEOUT,
    POOL_RECYCLE,
    STATEMENT_TIMEOUT,
    pool_options,
    seconds,
)

Error = pymysql.Error
CAN_LOCK_ONE_OF_A_JOIN = False  # FOR UPDATE has no OF: it would lock the rows of both, in an order of its own

CHARACTER_SET = "utf8mb4"
COLLATION = "utf8mb4_nopad_bin"  # by code point; utf8mb4_bin would ignore blanks at the end
# No value is cut to fit; and in an UPDATE every expression sees the old row, as in standard SQL.
SQL_MODE = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,SIMULTANEOUS_ASSIGNMENT"
NEVER = timedelta(0)  # for the server, a time-out that is off

# A deadlock, in a Galera cluster also one that COMMIT finds; a lock time-out; a row that has changed since it
# was read; a key that another transaction wrote first: unique, or foreign from either side. 1467: no next id;
# it happens to the first inserts after the server has opened a table, if they come at the same time.
LOCK_TIMED_OUT = 1205
LOST_RACE = frozenset({1213, LOCK_TIMED_OUT, 1020, 1062, 1452, 1451, 1467})
# This server takes no writes: it is shutting down, not part of the quorum, or read-only. The same address may
# lead to another server by now, so the connection is closed.
TAKES_NO_WRITES = frozenset({1053, 1047, 1290, 1836})
# No connection: too many, also of one account; no access; no such database. No memory, disk space or threads.
# A statement or a connection that the server ended.
UNAVAILABLE = TAKES_NO_WRITES | {
    1040,
    1203,
    1226,
    1044,
    1045,
    1698,
    4151,
    1049,
    1129,
    1130,
    1021,
    1026,
    1030,
    1037,
    1038,
    1041,
    1114,
    1135,
    1317,
    1927,
    1969,
}
CLIENT_ERRORS = range(2000, 3000)  # of the driver: the connection broke, or was never made
VERSION = re.compile(r"\d+")
KEY = re.compile(r"for key '(?P<key>[^']+)'$|CONSTRAINT `(?P<constraint>[^`]+)`")


def options(url: URL) -> Arguments:
    """Return the arguments of `create_engine`."""
    connect = connect_options(LOCK_TIMEOUT, STATEMENT_TIMEOUT, ANSWER_TIMEOUT)
    return pool_options() | connect | {"pool_recycle": seconds(POOL_RECYCLE)}


def connect_options(
    lock_timeout: timedelta, statement_timeout: timedelta, answer_timeout: timedelta | None
) -> Arguments:
    """Return the arguments that set up each connection. answer_timeout: None for no limit."""
    session = {
        "tx_isolation": "'READ-COMMITTED'",
        "innodb_lock_wait_timeout": seconds(lock_timeout),
        "lock_wait_timeout": seconds(lock_timeout),  # for a table that is being altered
        "max_statement_time": seconds(statement_timeout),
        "idle_transaction_timeout": seconds(IDLE_TRANSACTION_TIMEOUT),
        "wait_timeout": 2 * seconds(POOL_RECYCLE),  # so that the pool closes idle connections first
        "sql_mode": f"'{SQL_MODE}'",
        "foreign_key_checks": "ON",
    }
    connect_args = {
        "charset": CHARACTER_SET,
        "collation": COLLATION,
        "init_command": "SET " + ", ".join(f"SESSION {name} = {value}" for name, value in session.items()),
        "connect_timeout": seconds(CONNECT_TIMEOUT),
        "read_timeout": answer_timeout and seconds(answer_timeout),
        "write_timeout": answer_timeout and seconds(answer_timeout),
    }
    return {"connect_args": connect_args}


def prepare(engine: Engine) -> None:
    """Add the listeners that connect, begin, and close connections to a server that takes no writes."""
    circuit_breaker = CircuitBreaker()

    @event.listens_for(engine, "do_connect")
    def connect_once(
        dialect: SqlDialect, record: ConnectionPoolEntry, arguments: list[str], named: Arguments
    ) -> LateConnection:
        return circuit_breaker.connect(lambda: LateConnection.make(arguments, named))

    def begin_late(cursor: DBAPICursor, sql: str, context: DefaultExecutionContext) -> None:
        connection = cursor.connection
        if not connection.is_in_transaction() and not only_reads(sql, context):
            connection.query("BEGIN")

    before_execution(engine, begin_late)

    @event.listens_for(engine, "handle_error")
    def give_up_connection(context: ExceptionContext) -> None:
        if (
            isinstance(context.original_exception, Error)
            and number_of(context.original_exception) in TAKES_NO_WRITES
        ):
            context.is_disconnect = True


def migration_engine(engine: Engine) -> Engine:
    """Return an engine without the short time-outs of requests, which keeps no connection open."""
    return create_engine(
        engine.url, poolclass=NullPool, **connect_options(MIGRATION_LOCK_TIMEOUT, NEVER, None)
    )


# the name of a lock has at most 64 characters
GET_LOCK = text("SELECT GET_LOCK(CONCAT('ostiary.', SHA1(DATABASE())), :seconds)")


def lock_for_migration(connection: Connection, wait: timedelta) -> bool:
    """Return whether the session got a lock by name, which it keeps over the COMMIT of CREATE and ALTER.

    On a Galera cluster each node has locks of its own.
    """
    return connection.scalar(GET_LOCK, {"seconds": seconds(wait)}) == 1


@compiles(CreateTable, "mariadb")
def create_exact_table(element: CreateTable, compiler: DDLCompiler, **arguments: object) -> str:
    """Return the CREATE TABLE with our engine and collation, which the server's defaults may differ from."""
    statement = compiler.visit_create_table(element, **arguments).rstrip()
    return f"{statement} ENGINE=InnoDB DEFAULT CHARSET={CHARACTER_SET} COLLATE={COLLATION}"


@compiles(JSON, "mariadb")
def create_text(element: JSON, compiler: TypeCompiler, **arguments: object) -> str:
    """Return the type of a JSON column: text.

    MariaDB's own JSON is the same text with a check. That refuses half of a surrogate pair, which JSON text
    may have.
    """
    return "LONGTEXT"


def lock_tables(connection: Connection, tables: Collection[str]) -> None:
    """Do nothing: an ALTER commits, and locks its own table."""


def find_orphans(connection: Connection) -> Iterable[str]:
    """Return nothing: foreign keys are enforced at all times."""
    return ()


def upsert(into: Table, key: Sequence[str], change: Change) -> Insert:
    """Return an INSERT that updates the row where there is one with this key."""
    statement = mysql.insert(into)
    return statement.on_duplicate_key_update(change(statement.inserted))


def insert_or_ignore(into: Table, key: str) -> Insert:
    """Return an INSERT that does nothing where there is a row with this key."""
    return mysql.insert(into).prefix_with("IGNORE")


IS_IN_TRANSACTION = text("SELECT @@in_transaction")
DELETERS = 4  # as many transactions that delete at once find rows that no other has locked


class NoWaitDelete(Delete):
    """A DELETE that fails at once, with error 1205, where a row that it would delete is locked."""

    inherit_cache = True


@compiles(NoWaitDelete, "mariadb")
def compile_no_wait_delete(element: NoWaitDelete, compiler: SQLCompiler, **arguments: object) -> str:
    """Return the SQL of a NoWaitDelete."""
    return f"SET STATEMENT innodb_lock_wait_timeout = 0 FOR {compiler.visit_delete(element, **arguments)}"


def delete_batch(
    connection: Connection, chosen: KeySelect, parameters: Mapping[str, object], count: int
) -> None:
    """Delete the first `count` chosen rows, and skip those that are locked.

    The keys are read first, and the rows deleted one by one. For several keys, or a subquery, MariaDB may
    read and lock a whole small table; and a range such as "older than" locks the first row after it too. CASE
    keeps the condition from being used to choose an index. A DELETE cannot skip locked rows, but it can fail
    at once: that undoes the one statement only, and the next key is tried.
    """
    [key] = chosen.selected_columns
    assert chosen.whereclause is not None  # noqa: S101 - the row must still fulfil the condition
    still_chosen = case((chosen.whereclause, 1), else_=0) == 1
    delete_one = (
        NoWaitDelete(key.table)
        .where(key == bindparam("chosen"), still_chosen)
        .execution_options(**chosen.get_execution_options())
    )
    left = count
    for chosen_key in connection.scalars(chosen.limit(count * DELETERS), parameters).all():
        if left:
            left -= delete_unless_locked(connection, delete_one, {**parameters, "chosen": chosen_key})


def delete_unless_locked(
    connection: Connection, delete_one: NoWaitDelete, parameters: Mapping[str, object]
) -> int:
    """Return how many rows were deleted: none where another transaction has locked the row.

    With `innodb_rollback_on_timeout` the server rolls back the whole transaction then, so the error is raised
    and the request runs again.
    """
    try:
        return connection.execute(delete_one, parameters).rowcount
    except DBAPIError as error:
        if number_of(error.orig) != LOCK_TIMED_OUT or not connection.scalar(IS_IN_TRANSACTION):
            raise
        return 0


def check_location(url: URL) -> Iterable[CheckResult]:
    """Return nothing: a server may be anywhere."""
    return ()


SERVER_INFO = text(
    "SELECT version() AS version, @@tx_isolation AS isolation, @@max_connections AS connections,"
    " unix_timestamp(now(6)) AS clock, @@read_only AS is_read_only"
)
DURABLE = {
    "innodb_flush_log_at_trx_commit": ("1",),
    "innodb_doublewrite": ("1", "ON", "FAST"),
    "sync_binlog": ("1",),
}
CURRENT_SETTINGS = text(
    f"SELECT {', '.join(f'@@{name} AS {name}' for name in DURABLE)}, @@log_bin AS log_bin,"
    " @@binlog_format AS binlog_format"
)
# a server without Galera has neither
GALERA_SETTINGS = text("SHOW VARIABLES WHERE Variable_name IN ('wsrep_on', 'wsrep_sync_wait')")
OTHER_TABLES = text(
    "SELECT table_name, engine, table_collation FROM information_schema.tables"
    " WHERE table_schema = database() AND table_name IN :tables AND (engine <> 'InnoDB' OR"
    " table_collation <> :collation)"
).bindparams(bindparam("tables", expanding=True))


def read_server_info(connection: Connection) -> ServerInfo:
    """Return what the server says of itself. One SELECT."""
    row = connection.execute(SERVER_INFO).one()
    return ServerInfo(
        "MariaDB",
        tuple(map(int, VERSION.findall(row.version)[:2])),
        minimum_version=(10, 11),
        isolation=row.isolation,
        connections=row.connections,
        clock=float(row.clock),
        is_read_only=str(row.is_read_only) not in ("0", "OFF"),  # a number; since MariaDB 12 a word
    )


def run_checks(connection: Connection, tables: Collection[str]) -> Iterator[CheckResult]:
    """Return what is wrong with the server's settings, with a Galera node, and with our tables."""
    yield from check_settings(connection)
    yield from check_tables(connection, tables)


def check_settings(connection: Connection) -> Iterator[CheckResult]:
    """Return what is wrong with the server's settings, and with those of a Galera node."""
    row = connection.execute(CURRENT_SETTINGS).one()
    for name, durable in DURABLE.items():
        value = str(getattr(row, name)).upper()
        if value not in durable and (row.log_bin or name != "sync_binlog"):
            yield may_lose_writes(f"{name} is {value} on the MariaDB server, set it to {durable[0]}")
    if row.log_bin and row.binlog_format == "STATEMENT":
        yield problem(
            "binlog_format is STATEMENT, which MariaDB refuses under READ COMMITTED: set it to ROW or MIXED"
        )
    wsrep = {name: value for name, value in connection.execute(GALERA_SETTINGS)}
    if wsrep.get("wsrep_on") == "ON" and wsrep.get("wsrep_sync_wait") == "0":
        yield warning(
            "wsrep_sync_wait is 0 on this Galera node, so it may not know yet what another has"
            " acknowledged: set it to 7,"
            " unless all of Ostiary uses one node"
        )


def check_tables(connection: Connection, tables: Collection[str]) -> Iterator[CheckResult]:
    """Return our tables that have another engine or collation than they were created with."""
    for row in connection.execute(OTHER_TABLES, {"tables": list(tables), "collation": COLLATION}):
        if row.engine != "InnoDB":
            yield problem(
                f"the table {row.table_name} has no transactions: ALTER TABLE {row.table_name} ENGINE=InnoDB"
            )
        if row.table_collation != COLLATION:
            convert = (
                f"ALTER TABLE {row.table_name} CONVERT TO CHARACTER SET {CHARACTER_SET} COLLATE {COLLATION}"
            )
            yield problem(
                f"the table {row.table_name} takes different texts for equal ({row.table_collation}):"
                f" {convert}"
            )


def number_of(error: BaseException | None) -> int:
    """Return the error's number; 0 where it has none."""
    number = error.args[0] if error is not None and error.args else None
    return number if isinstance(number, int) else 0


def code_of(error: BaseException | None) -> str:
    """Return the error's number as text; "" where it has none."""
    return str(number_of(error) or "")


def constraint_of(error: BaseException | None) -> str:
    """Return the name of the violated constraint, or "", without the values in the message."""
    found = KEY.search(str(error.args[1])) if error is not None and len(error.args) > 1 else None
    return (found["key"] or found["constraint"]) if found else ""


def lost_a_race(error: BaseException | None) -> bool:
    """Return whether another transaction was faster, so that a second try can succeed."""
    return number_of(error) in LOST_RACE


def is_unavailable(error: BaseException | None) -> bool:
    """Return whether the database failed, and not the statement."""
    number = number_of(error)
    # an internal error is one of the server's files too
    if isinstance(error, pymysql.InterfaceError | pymysql.InternalError):
        return True
    return number in UNAVAILABLE or number in CLIENT_ERRORS
