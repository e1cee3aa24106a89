"""MariaDB through PyMySQL: READ COMMITTED, time-outs and strict mode given at connect; InnoDB and exact
comparison in every table.

Under its default, REPEATABLE READ, requests that share nothing deadlock in a common gap. Its default
collations take `Code` for `code`, and nearly all of them `code ` too: tables are made with one that compares
what was sent.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pymysql
from pymysql.constants import SERVER_STATUS
from sqlalchemy import (
    JSON,
    URL,
    Connection,
    Delete,
    Engine,
    ExceptionContext,
    NullPool,
    Select,
    Table,
    bindparam,
    case,
    create_engine,
    event,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateTable

from database.checks import CheckResult, ServerInfo, may_lose_writes, problem, warning
from database.circuit_breaker import CircuitBreaker
from database.dialect import Change
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

CHARACTER_SET = "utf8mb4"
COLLATION = "utf8mb4_nopad_bin"  # by code point; with utf8mb4_bin blanks at the end would not count
# Nothing is cut to fit; and in an UPDATE every expression sees the row as it was, as in the standard.
SQL_MODE = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,SIMULTANEOUS_ASSIGNMENT"
NEVER = timedelta(0)  # the server's word for a time-out that is off

# A deadlock, in a Galera cluster also one that COMMIT finds; a lock time-out; a row that has changed since it
# was read; a key that a rival was faster at: unique, or foreign from either side. 1467: no next id, which
# several hear at once who are the first to insert after the server has opened a table.
LOCK_TIMED_OUT = 1205
LOST_RACE = frozenset({1213, LOCK_TIMED_OUT, 1020, 1062, 1452, 1451, 1467})
# What the server says when it is not one to write to: shutting down, no part of a quorum, read-only. Another
# may stand behind the same address by now, so the connection is given up.
REFUSES_ALL = frozenset({1053, 1047, 1290, 1836})
# No connection: too many, of the account too; no access, no such database. No room, or a file that cannot be
# written: memory, disk, threads. Ended by the server: a statement, a connection.
UNAVAILABLE = REFUSES_ALL | {
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
CLIENT_ERRORS = range(2000, 3000)  # the driver's own: the line broke, or never was
VERSION = re.compile(r"\d+")
KEY = re.compile(r"for key '(?P<key>[^']+)'$|CONSTRAINT `(?P<constraint>[^`]+)`")


def options(url: URL) -> dict[str, Any]:
    connect = connect_options(LOCK_TIMEOUT, STATEMENT_TIMEOUT, ANSWER_TIMEOUT)
    # `reset` does it: the pool would send a ROLLBACK after each COMMIT.
    return pool_options() | connect | {"pool_recycle": seconds(POOL_RECYCLE), "pool_reset_on_return": None}


def connect_options(
    lock_timeout: timedelta, statement_timeout: timedelta, answer_timeout: timedelta | None
) -> dict[str, Any]:
    session = {
        "innodb_lock_wait_timeout": seconds(lock_timeout),
        "lock_wait_timeout": seconds(lock_timeout),  # for a table that is being altered
        "max_statement_time": seconds(statement_timeout),
        "idle_transaction_timeout": seconds(IDLE_TRANSACTION_TIMEOUT),
        "wait_timeout": 2 * seconds(POOL_RECYCLE),  # the pool gives connections up, not the server
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
    return {"isolation_level": "READ COMMITTED", "connect_args": connect_args}


def prepare(engine: Engine) -> None:
    gate = CircuitBreaker()

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Any, record: Any, arguments: Any, named: Any) -> Any:
        return gate.connect(lambda: connect_with_breaker(*arguments, **named))

    @event.listens_for(engine, "reset")
    def reset(connection: Any, record: Any, state: Any) -> None:
        if connection.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS:
            engine.dialect.do_rollback(connection)

    @event.listens_for(engine, "handle_error")
    def give_up_connection(context: ExceptionContext) -> None:
        if (
            isinstance(context.original_exception, Error)
            and number_of(context.original_exception) in REFUSES_ALL
        ):
            context.is_disconnect = True


def connect_with_breaker(*arguments: Any, **named: Any) -> Any:
    """A connection whose greeting has to come as soon as the connection itself.

    PyMySQL 1.2 has one time-out for both, `read_timeout`; this is how it is changed.
    """
    connection = pymysql.connect(*arguments, **named | {"read_timeout": named["connect_timeout"]})
    connection._read_timeout = named["read_timeout"]
    return connection


def migration_engine(engine: Engine) -> Engine:
    return create_engine(
        engine.url, poolclass=NullPool, **connect_options(MIGRATION_LOCK_TIMEOUT, NEVER, None)
    )


# a name ends at 64 characters
TAKE_TURN = text("SELECT GET_LOCK(CONCAT('ostiary.', SHA1(DATABASE())), :seconds)")


def take_turn(connection: Connection, wait: timedelta) -> bool:
    """By a lock that the session keeps over the COMMIT of each CREATE and ALTER.

    A Galera node knows only its own.
    """
    return connection.scalar(TAKE_TURN, {"seconds": seconds(wait)}) == 1


@compiles(CreateTable, "mariadb")
def create_exact_table(element: CreateTable, compiler: Any, **arguments: Any) -> str:
    """Every table, whoever makes it: a server's or a database's default would decide otherwise."""
    statement = compiler.visit_create_table(element, **arguments).rstrip()
    return f"{statement} ENGINE=InnoDB DEFAULT CHARSET={CHARACTER_SET} COLLATE={COLLATION}"


@compiles(JSON, "mariadb")
def create_text(element: JSON, compiler: Any, **arguments: Any) -> str:
    """What MariaDB calls JSON is this text with a check that refuses half of a surrogate pair, which JSON
    text may have.
    """
    return "LONGTEXT"


def upsert(into: Table, key: Sequence[str], change: Change) -> Any:
    statement = mysql.insert(into)
    return statement.on_duplicate_key_update(change(statement.inserted))


def insert_or_ignore(into: Table, key: str) -> Any:
    return mysql.insert(into).prefix_with("IGNORE")


IS_IN_TRANSACTION = text("SELECT @@in_transaction")
SWEEPERS = 4  # so many that delete at once find rows that no other has locked


class NoWaitDelete(Delete):
    """Fails at once, with error 1205, where a row that it would delete is locked."""

    inherit_cache = True


@compiles(NoWaitDelete, "mariadb")
def compile_no_wait_delete(element: NoWaitDelete, compiler: Any, **arguments: Any) -> str:
    return f"SET STATEMENT innodb_lock_wait_timeout = 0 FOR {compiler.visit_delete(element, **arguments)}"


def delete_batch(session: Any, chosen: Select[Any], parameters: dict[str, Any], count: int) -> None:
    """Read first, then one key at a time: told several, or a subquery, MariaDB may read and lock a whole
    small table; and whoever looks for what is older than something locks the first row that is not. CASE
    hides the condition from the choice of an index. A DELETE cannot skip what is locked, but it need not
    wait: its refusal undoes that statement alone, and the next key is tried.
    """
    [key] = chosen.selected_columns
    assert chosen.whereclause is not None  # noqa: S101 - whatever was chosen must be so still
    still = case((chosen.whereclause, 1), else_=0) == 1
    one = NoWaitDelete(key.table).where(key == bindparam("chosen"), still)
    left = count
    for chosen_key in session.scalars(chosen.limit(count * SWEEPERS), parameters).all():
        if left:
            left -= deleted_at_once(session, one, parameters | {"chosen": chosen_key})


def deleted_at_once(session: Any, one: NoWaitDelete, parameters: dict[str, Any]) -> int:
    """How many rows; none where somebody has locked the one. Told to (`innodb_rollback_on_timeout`), the
    server undoes the whole transaction then: the request has to begin again.
    """
    try:
        return int(session.execute(one, parameters).rowcount)
    except DBAPIError as error:
        if number_of(error.orig) != LOCK_TIMED_OUT or not session.scalar(IS_IN_TRANSACTION):
            raise
        return 0


def check_location(url: URL) -> Iterable[CheckResult]:
    return ()


LOOK = text(
    "SELECT version() AS version, @@tx_isolation AS isolation, @@max_connections AS connections,"
    " unix_timestamp(now(6)) AS clock, @@read_only AS is_read_only"
)
DURABLE = {
    "innodb_flush_log_at_trx_commit": ("1",),
    "innodb_doublewrite": ("1", "ON", "FAST"),
    "sync_binlog": ("1",),
}
ASK_SETTINGS = text(
    f"SELECT {', '.join(f'@@{name} AS {name}' for name in DURABLE)}, @@log_bin AS log_bin,"
    " @@binlog_format AS binlog_format"
)
ASK_GALERA = text(
    "SHOW VARIABLES WHERE Variable_name IN ('wsrep_on', 'wsrep_sync_wait')"
)  # servers without it have neither
OTHER_TABLES = text(
    "SELECT table_name, engine, table_collation FROM information_schema.tables"
    " WHERE table_schema = database() AND table_name IN :tables AND (engine <> 'InnoDB' OR"
    " table_collation <> :collation)"
).bindparams(bindparam("tables", expanding=True))


def read_server_info(connection: Connection) -> ServerInfo:
    told = connection.execute(LOOK).one()
    return ServerInfo(
        "MariaDB",
        tuple(map(int, VERSION.findall(told.version)[:2])),
        minimum_version=(10, 11),
        isolation=told.isolation,
        connections=told.connections,
        clock=float(told.clock),
        is_read_only=str(told.is_read_only) not in ("0", "OFF"),  # a number, or since MariaDB 12 a word
    )


def run_checks(connection: Connection, tables: Collection[str]) -> Iterator[CheckResult]:
    told = connection.execute(ASK_SETTINGS).one()
    for name, durable in DURABLE.items():
        value = str(getattr(told, name)).upper()
        if value not in durable and (told.log_bin or name != "sync_binlog"):
            yield may_lose_writes(f"{name} is {value} on the MariaDB server, set it to {durable[0]}")
    if told.log_bin and told.binlog_format == "STATEMENT":
        yield problem(
            "binlog_format is STATEMENT, which MariaDB refuses under READ COMMITTED: set it to ROW or MIXED"
        )
    wsrep = {name: value for name, value in connection.execute(ASK_GALERA)}
    if wsrep.get("wsrep_on") == "ON" and wsrep.get("wsrep_sync_wait") == "0":
        yield warning(
            "wsrep_sync_wait is 0 on this Galera node, so it may not know yet what another has"
            " acknowledged: set it to 7,"
            " unless all of Ostiary uses one node"
        )
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


def number_of(error: Any) -> int:
    number = error.args[0] if error.args else None
    return number if isinstance(number, int) else 0


def code_of(error: Any) -> str:
    return str(number_of(error) or "")


def constraint_of(error: Any) -> str:
    """The message has values too, which do not leave this function."""
    found = KEY.search(str(error.args[1])) if len(error.args) > 1 else None
    return (found["key"] or found["constraint"]) if found else ""


def lost_a_race(error: Any) -> bool:
    return number_of(error) in LOST_RACE


def is_unavailable(error: Any) -> bool:
    number = number_of(error)
    # internal: files of the server, too
    if isinstance(error, pymysql.InterfaceError | pymysql.InternalError):
        return True
    return number in UNAVAILABLE or number in CLIENT_ERRORS
