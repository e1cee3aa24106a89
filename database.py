"""The one file that knows which database it is: connect options, when a transaction begins on SQLite, what an error means.

PostgreSQL runs READ COMMITTED with time-outs given at connect, so they cost no statement. On SQLite the driver is in
autocommit and a transaction begins at the first statement that locks or writes: first the lock file, a queue that the kernel
keeps, then BEGIN IMMEDIATE. Reads before that see what READ COMMITTED would show, and a password is hashed without holding up
every other writer. `docs/adr/` has the measurements.
"""

import fcntl
import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Table, event, make_url, text
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, InternalError, OperationalError

from errors import StorageBusyError

POOL_SIZE = 8
POOL_TIMEOUT = timedelta(seconds=3)
LOCK_TIMEOUT = timedelta(seconds=2)
STATEMENT_TIMEOUT = timedelta(seconds=5)
IDLE_TRANSACTION_TIMEOUT = timedelta(seconds=30)
CONNECT_TIMEOUT = timedelta(seconds=3)
LOCK_FILE_TIMEOUT = timedelta(seconds=5)
BUSY_TIMEOUT = timedelta(seconds=2)
PRAGMAS = (
    f"busy_timeout = {BUSY_TIMEOUT // timedelta(milliseconds=1)}",
    "journal_mode = WAL",
    "foreign_keys = ON",
    "synchronous = FULL",  # NORMAL may lose the last commits in a power cut
)

WAITERS = threading.BoundedSemaphore(2 * POOL_SIZE)  # threads that stand in line for a lock file

# SQLSTATE: serialization failure, deadlock, lock time-out; a unique or foreign key that a rival was faster at.
LOST_RACE_SQLSTATES = frozenset({"40001", "40P01", "55P03", "23505", "23503"})
UNAVAILABLE_SQLSTATE_CLASSES = frozenset({"08", "53", "57", "58", "25", "40", "55"})


def is_memory(url: str) -> bool:
    parsed = make_url(url)
    return parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:")


def engine_options(url: str) -> dict[str, Any]:
    """Arguments of `create_engine` for this URL."""
    backend = make_url(url).get_backend_name()
    if is_memory(url):
        return {"connect_args": {"isolation_level": None}}  # None: the driver's autocommit
    pool = {"pool_size": POOL_SIZE, "max_overflow": 0, "pool_timeout": POOL_TIMEOUT.total_seconds()}
    if backend == "sqlite":
        return pool | {"connect_args": {"isolation_level": None}}
    options = {
        "default_transaction_isolation": r"read\ committed",
        "lock_timeout": milliseconds(LOCK_TIMEOUT),
        "statement_timeout": milliseconds(STATEMENT_TIMEOUT),
        "idle_in_transaction_session_timeout": milliseconds(IDLE_TRANSACTION_TIMEOUT),
    }
    connect_args = {
        "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
        "connect_timeout": int(CONNECT_TIMEOUT.total_seconds()),
        "application_name": "ostiary",
    }
    return pool | {"connect_args": connect_args, "pool_recycle": 1_800}


def milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def prepare(engine: Engine) -> None:
    """Attach what SQLite needs to an engine that has not connected yet. Nothing for the others."""
    if engine.dialect.name != "sqlite":
        return
    path = engine.url.database or ""
    lock_path = None if is_memory(str(engine.url)) else f"{path}.lock"

    @event.listens_for(engine, "do_connect")
    def make_private_file(dialect: Any, record: Any, arguments: Any, named: Any) -> None:
        if lock_path is not None:
            # Made without being opened: a process that closes any descriptor of the file loses all its locks on it (POSIX), and
            # SQLite's other connections here with them. An error is left to connecting, which says better what is wrong.
            with suppress(OSError):
                os.mknod(path, stat.S_IFREG | 0o600)

    @event.listens_for(engine, "connect")
    def set_pragmas(connection: sqlite3.Connection, record: Any) -> None:
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "before_cursor_execute")
    def open_lazily(conn: Any, cursor: Any, sql: str, parameters: Any, context: Any, many: bool) -> None:
        if conn.connection.in_transaction or not locks_or_writes(sql, context):
            return
        if lock_path is not None:
            lock = conn.info.setdefault("lock file", LockFile(lock_path))
            lock.acquire(LOCK_FILE_TIMEOUT)
        try:
            cursor.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:  # SQLAlchemy wraps the errors of its own statements only
            raise OperationalError("BEGIN IMMEDIATE", None, error) from error

    # A session gives its connection back right after COMMIT or ROLLBACK: that is when the next writer's turn comes.
    @event.listens_for(engine, "checkin")
    @event.listens_for(engine, "invalidate")
    def leave_the_queue(connection: Any, record: Any, *rest: Any) -> None:
        if "lock file" in record.info:
            record.info["lock file"].release()


def locks_or_writes(sql: str, context: Any) -> bool:
    """Whether a statement is one that a transaction must have begun for."""
    if context.isinsert or context.isupdate or context.isdelete or context.isddl:
        return True
    if context.compiled is not None:
        return getattr(context.compiled.statement, "_for_update_arg", None) is not None
    return sql.lstrip()[:6].upper() in {"INSERT", "UPDATE", "DELETE", "CREATE", "ALTER ", "DROP T", "DROP I"}


class LockFile:
    """An exclusive flock with a bounded wait. The kernel queues the waiters and frees the lock of a process that dies."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: int | None = None

    def acquire(self, timeout: timedelta) -> None:
        """Raises StorageBusyError after `timeout`."""
        if self._file is not None:
            return
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._wait(file, timeout)
        except OSError as error:
            os.close(file)
            raise StorageBusyError from error
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @staticmethod
    def _wait(file: int, timeout: timedelta) -> None:
        """flock cannot time out, and polling would lose the queue: a thread of its own waits, and may be given up."""
        if not WAITERS.acquire(blocking=False):  # so many stand in line, or have given up in it: nothing moves
            os.close(file)
            raise StorageBusyError
        turn = threading.Lock()  # decides once between "it is our turn" and "we gave up"
        arrived = threading.Event()

        def wait_in_line() -> None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            finally:
                WAITERS.release()
            if turn.acquire(blocking=False):
                arrived.set()
            else:
                os.close(file)  # too late: nobody waits any more

        threading.Thread(target=wait_in_line, name="lock file", daemon=True).start()
        if not arrived.wait(timeout.total_seconds()) and turn.acquire(blocking=False):
            raise StorageBusyError
        arrived.wait()


def insert_or_change(
    dialect: str, into: Table, key: str | Sequence[str], change: Callable[[Any], dict[str, Any]]
) -> Any:
    """An INSERT that changes the row instead where `key` is there already: one statement, whoever else does the same.

    key: a column, or several that are unique together. change: from the row that would have been inserted to the columns to set.
    """
    if dialect in ("mysql", "mariadb"):
        upsert = mysql.insert(into)
        return upsert.on_duplicate_key_update(change(upsert.inserted))
    insert = (postgresql if dialect == "postgresql" else sqlite).insert(into)
    return insert.on_conflict_do_update(
        index_elements=[key] if isinstance(key, str) else key, set_=change(insert.excluded)
    )


def insert_if_new(dialect: str, into: Table, key: str) -> Any:
    """An INSERT that does nothing where `key` is there already; then RETURNING returns no row."""
    if dialect in ("mysql", "mariadb"):
        return mysql.insert(into).prefix_with("IGNORE")
    insert = (postgresql if dialect == "postgresql" else sqlite).insert(into)
    return insert.on_conflict_do_nothing(index_elements=[key])


def prepare_for_migrations(connection: Connection) -> None:
    """A migration may take its time; requests may not."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("SET lock_timeout = '60s'"))


def lost_a_race(error: DBAPIError) -> bool:
    """Whether running the whole request again, from a clean start, can be expected to succeed."""
    original: Any = error.orig
    if isinstance(original, sqlite3.Error):
        code = getattr(original, "sqlite_errorcode", 0)
        primary = code & 0xFF
        constraints = (
            sqlite3.SQLITE_CONSTRAINT_UNIQUE,
            sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
            sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY,
        )
        return primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or code in constraints
    return getattr(original, "sqlstate", None) in LOST_RACE_SQLSTATES


def is_unavailable(error: DBAPIError) -> bool:
    """Whether the database, and not the statement, is what went wrong: answered 503."""
    if error.connection_invalidated or lost_a_race(error):
        return True
    sqlstate = getattr(error.orig, "sqlstate", None)
    if sqlstate is not None:
        return sqlstate[:2] in UNAVAILABLE_SQLSTATE_CLASSES
    return isinstance(error, OperationalError | InterfaceError | InternalError) and not isinstance(
        error, IntegrityError
    )
