"""SQLite: when a transaction begins, what each connection is told, which errors a rival caused.

The driver is in autocommit and a transaction begins at the first statement that locks or writes: first the
lock file, a queue that the kernel keeps, then BEGIN IMMEDIATE. Reads before that see what READ COMMITTED
would show, and a password is hashed without holding up every other writer. `docs/adr/` has the measurements.
"""

import os
import re
import sqlite3
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Select, Table, event, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import OperationalError

from database.checks import CheckResult, ServerInfo, may_lose_writes, problem
from database.dialect import Change, skip_locked_delete
from database.lock_file import LockFile
from database.timeouts import milliseconds, pool_options
from errors import StorageBusyError

Error = sqlite3.Error

LOCK_FILE_TIMEOUT = timedelta(seconds=5)
BUSY_TIMEOUT = timedelta(seconds=2)
PRAGMAS = (
    f"busy_timeout = {milliseconds(BUSY_TIMEOUT)}",
    "journal_mode = WAL",
    "foreign_keys = ON",
    "case_sensitive_like = ON",
    "synchronous = FULL",  # NORMAL may lose the last commits in a power cut
)
FULL = 2
MOUNTS = Path("/proc/mounts")
OCTAL = re.compile(r"\\([0-7]{3})")  # how it writes blanks
NETWORK_FILE_SYSTEMS = frozenset(
    "nfs nfs4 cifs smb2 smb3 smbfs afs ncpfs ceph glusterfs lustre gpfs ocfs2 gfs2 beegfs davfs"
    " fuse.sshfs fuse.glusterfs fuse.ceph fuse.s3fs fuse.rclone fuse.davfs2 fuse.smbnetfs".split()
)
RIVAL_CONSTRAINTS = frozenset(
    {
        sqlite3.SQLITE_CONSTRAINT_UNIQUE,
        sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
        sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY,
    }
)


def is_memory(url: URL) -> bool:
    return url.database in (None, "", ":memory:")


def options(url: URL) -> dict[str, Any]:
    autocommit = {"connect_args": {"isolation_level": None}}  # the driver's word for it
    return autocommit if is_memory(url) else pool_options() | autocommit


def prepare(engine: Engine) -> None:
    path = engine.url.database or ""
    lock_path = None if is_memory(engine.url) else f"{path}.lock"

    @event.listens_for(engine, "do_connect")
    def make_private_file(dialect: Any, record: Any, arguments: Any, named: Any) -> None:
        if lock_path is not None:
            # Made without being opened: a process that closes any descriptor of the file loses all its locks
            # on it (POSIX), and SQLite's other connections here with them. An error is left to connecting,
            # which says better what is wrong.
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

    # A session gives its connection back right after COMMIT or ROLLBACK: that is when the next writer's turn
    # comes.
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


def migration_engine(engine: Engine) -> Engine:
    return engine  # its statements have no time-out


def take_turn(connection: Connection, wait: timedelta) -> bool:
    """The connection keeps its place at the head of the queue from now on, not from its first change."""
    if is_memory(connection.engine.url):
        return True
    lock = connection.info.setdefault("lock file", LockFile(f"{connection.engine.url.database}.lock"))
    try:
        lock.acquire(wait)
    except StorageBusyError as error:
        if error.__cause__ is not None:
            raise
        return False
    return True


def upsert(into: Table, key: Sequence[str], change: Change) -> Any:
    statement = sqlite.insert(into)
    return statement.on_conflict_do_update(index_elements=key, set_=change(statement.excluded))


def insert_or_ignore(into: Table, key: str) -> Any:
    return sqlite.insert(into).on_conflict_do_nothing(index_elements=[key])


def delete_batch(session: Any, chosen: Select[Any], parameters: dict[str, Any], count: int) -> None:
    session.execute(skip_locked_delete(chosen, count), parameters)


def check_location(url: URL) -> Iterator[CheckResult]:
    if is_memory(url):
        return
    if (kind := file_system(Path(url.database or "").absolute().parent)) in NETWORK_FILE_SYSTEMS:
        yield problem(
            f"the SQLite file is on a network file system ({kind}), where its locks do not hold: put"
            " it on a local disk"
        )


def file_system(folder: Path) -> str:
    """The kind of the one that `folder` is on, as Linux calls it; "" where nobody says."""
    return kind_of_place(folder.resolve(), os.fsdecode(MOUNTS.read_bytes())) if MOUNTS.exists() else ""


def kind_of_place(folder: Path, mounts: str) -> str:
    """mounts: the text of /proc/mounts. What was mounted at a place later hides what was there before."""
    kinds = {}
    for line in mounts.split("\n"):  # other line ends may be part of a name
        if line:
            _device, place, kind, *_rest = line.split(" ")
            kinds[Path(OCTAL.sub(lambda code: chr(int(code[1], 8)), place))] = kind
    return next((kinds[place] for place in (folder, *folder.parents) if place in kinds), "")


def read_server_info(connection: Connection) -> ServerInfo:
    return ServerInfo("SQLite", sqlite3.sqlite_version_info, minimum_version=(3, 35))


def run_checks(connection: Connection, tables: Collection[str]) -> Iterator[CheckResult]:
    if is_memory(connection.engine.url):
        return
    journal_mode = connection.scalar(text("PRAGMA journal_mode"))
    if journal_mode != "wal":
        yield problem(
            f"SQLite keeps its journal as {journal_mode} and not as WAL: does its disk allow shared memory?"
        )
    if connection.scalar(text("PRAGMA synchronous")) < FULL:
        yield may_lose_writes("SQLite does not wait for the disk (synchronous)")


def code_of(error: Any) -> str:
    return getattr(error, "sqlite_errorname", "")


def constraint_of(error: Any) -> str:
    return ""  # its message names columns only


def lost_a_race(error: Any) -> bool:
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or code in RIVAL_CONSTRAINTS


def is_unavailable(error: Any) -> bool:
    return isinstance(error, sqlite3.OperationalError | sqlite3.InterfaceError | sqlite3.InternalError)
