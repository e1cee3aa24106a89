"""SQLite: when a transaction begins, how connections are set up, and what an error means.

The driver is in autocommit mode. A transaction begins at the first statement that locks or writes: it takes
the lock file first, whose queue the kernel keeps, then BEGIN IMMEDIATE. Reads before that see what READ
COMMITTED would show, and no writer waits while another request hashes a password. `docs/adr/` has the
measurements.
"""

import os
import re
import sqlite3
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Insert,
    NullPool,
    StaticPool,
    Table,
    create_engine,
    event,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.engine.interfaces import Dialect as SqlDialect
from sqlalchemy.pool import ConnectionPoolEntry

from database.checks import CheckResult, ServerInfo, may_lose_writes, problem
from database.dialect import Arguments, Change, KeySelect, skip_locked_delete
from database.execution import before_execution, only_reads
from database.lock_file import LockFile
from database.tenancy import conflict_criterion
from database.timeouts import milliseconds, pool_options
from errors import StorageBusyError

Error = sqlite3.Error
CAN_LOCK_ONE_OF_A_JOIN = True  # its one lock is on no table, and comes before the statement

LOCK_FILE_TIMEOUT = timedelta(seconds=5)
BUSY_TIMEOUT = timedelta(seconds=2)
PRAGMAS = (
    f"busy_timeout = {milliseconds(BUSY_TIMEOUT)}",
    "journal_mode = WAL",
    "foreign_keys = ON",
    "case_sensitive_like = ON",
    "synchronous = FULL",  # NORMAL may lose the last commits in a power cut
)
AUTOCOMMIT = {"isolation_level": None}  # of the driver
FULL = 2
MOUNTS = Path("/proc/mounts")
OCTAL = re.compile(r"\\([0-7]{3})")  # how /proc/mounts writes blanks
NETWORK_FILE_SYSTEMS = frozenset(
    "nfs nfs4 cifs smb2 smb3 smbfs afs ncpfs ceph glusterfs lustre gpfs ocfs2 gfs2 beegfs davfs"
    " fuse.sshfs fuse.glusterfs fuse.ceph fuse.s3fs fuse.rclone fuse.davfs2 fuse.smbnetfs".split()
)
RACE_CONSTRAINTS = frozenset(  # violated where another transaction was faster
    {
        sqlite3.SQLITE_CONSTRAINT_UNIQUE,
        sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
        sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY,
    }
)


def is_memory(url: URL) -> bool:
    """Return whether a URL names an in-memory database."""
    return url.database in (None, "", ":memory:")


def options(url: URL) -> Arguments:
    """Return the arguments of `create_engine`."""
    autocommit = {"connect_args": AUTOCOMMIT}
    return autocommit if is_memory(url) else pool_options() | autocommit


def prepare(engine: Engine) -> None:
    """Add the listeners that create the file, set pragmas, and begin and end transactions."""
    path = engine.url.database or ""
    lock_path = None if is_memory(engine.url) else f"{path}.lock"

    @event.listens_for(engine, "do_connect")
    def prepare_file(
        dialect: SqlDialect, record: ConnectionPoolEntry, arguments: list[str], named: Arguments
    ) -> None:
        if lock_path is not None:
            create_private_file(path)

    @event.listens_for(engine, "connect")
    def set_pragmas(connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    def begin_late(cursor: DBAPICursor, sql: str, context: DefaultExecutionContext) -> None:
        if not cursor.connection.in_transaction and not only_reads(sql, context):
            begin(context.root_connection, cursor, lock_path)

    before_execution(engine, begin_late)

    # A session returns its connection right after COMMIT or ROLLBACK: then the next writer may go on.
    @event.listens_for(engine, "checkin")
    @event.listens_for(engine, "invalidate")
    def release_lock_file(connection: object, record: ConnectionPoolEntry, *rest: object) -> None:
        if "lock file" in record.info:
            record.info["lock file"].release()


def create_private_file(path: str) -> None:
    """Create an empty database file that only its owner may read, where there is none.

    It is created without being opened: a process that closes any descriptor of a file loses all its locks on
    it (POSIX), also those of SQLite's other connections. Errors are ignored, because connecting reports them
    better.
    """
    with suppress(OSError):
        os.mknod(path, stat.S_IFREG | 0o600)


def begin(connection: Connection, cursor: DBAPICursor, lock_path: str | None) -> None:
    """Begin a transaction that may write, after waiting for the lock file. lock_path: None in memory."""
    if lock_path is not None:
        lock_file_of(connection.info, lock_path).acquire(LOCK_FILE_TIMEOUT)
    cursor.execute("BEGIN IMMEDIATE")


def lock_file_of(info: dict[object, object], path: str) -> LockFile:
    """Return the lock file of a connection, from its `info`."""
    lock = info.setdefault("lock file", LockFile(path))
    assert isinstance(lock, LockFile)  # noqa: S101 - nothing else is kept under this name
    return lock


def migration_engine(engine: Engine) -> Engine:
    """Return an engine that enforces no foreign keys: `find_orphans` tells what they would have refused.

    A migration copies a table to change it, and to drop the old one would delete all rows that refer to it.
    Inside of a transaction the pragma does nothing.
    """
    if is_memory(engine.url):  # the one connection is the database
        other = create_engine(
            engine.url,
            poolclass=StaticPool,
            creator=lambda: engine.raw_connection().driver_connection,
        )
    else:
        other = create_engine(engine.url, poolclass=NullPool, connect_args=AUTOCOMMIT)
    prepare(other)

    @event.listens_for(other, "checkout")
    def let_go(connection: sqlite3.Connection, *rest: object) -> None:
        connection.execute("PRAGMA foreign_keys = OFF")

    @event.listens_for(other, "checkin")
    def enforce(connection: sqlite3.Connection | None, *rest: object) -> None:
        if connection is not None:
            connection.execute("PRAGMA foreign_keys = ON")

    return other


def lock_tables(connection: Connection, tables: Collection[str]) -> None:
    """Begin the transaction: it locks all tables."""
    connection.execute(text("UPDATE alembic_version SET version_num = version_num"))


def find_orphans(connection: Connection) -> list[str]:
    """Return the tables with rows whose parents are missing: a migration may have left some."""
    return sorted({str(row.table) for row in connection.execute(text("PRAGMA foreign_key_check"))})


def lock_for_migration(connection: Connection, wait: timedelta) -> bool:
    """Return whether the connection got the lock file, which it holds from now on."""
    if is_memory(connection.engine.url):
        return True
    try:
        lock_file_of(connection.info, f"{connection.engine.url.database}.lock").acquire(wait)
    except StorageBusyError as error:
        if error.__cause__ is not None:
            raise
        return False
    return True


def upsert(into: Table, key: Sequence[str], change: Change) -> Insert:
    """Return an INSERT that updates the row where there is one with this key."""
    statement = sqlite.insert(into)
    where = conflict_criterion(into, key)
    return statement.on_conflict_do_update(index_elements=key, set_=change(statement.excluded), where=where)


def insert_or_ignore(into: Table, key: str) -> Insert:
    """Return an INSERT that does nothing where there is a row with this key."""
    return sqlite.insert(into).on_conflict_do_nothing(index_elements=[key])


def delete_batch(
    connection: Connection, chosen: KeySelect, parameters: Mapping[str, object], count: int
) -> None:
    """Delete the first `count` chosen rows."""
    connection.execute(skip_locked_delete(chosen, count), parameters)


def check_location(url: URL) -> Iterator[CheckResult]:
    """Return a problem where the file is on a network file system."""
    if is_memory(url):
        return
    if (kind := file_system(Path(url.database or "").absolute().parent)) in NETWORK_FILE_SYSTEMS:
        yield problem(
            f"the SQLite file is on a network file system ({kind}), where its locks do not hold: put"
            " it on a local disk"
        )


def file_system(folder: Path) -> str:
    """Return the type of the file system of a folder, as Linux names it; "" where that is unknown."""
    return type_of_file_system(folder.resolve(), os.fsdecode(MOUNTS.read_bytes())) if MOUNTS.exists() else ""


def type_of_file_system(folder: Path, mounts: str) -> str:
    """Return the type of a folder's file system; "" where it is unknown. mounts: the text of /proc/mounts.

    A later mount at the same point hides an earlier one.
    """
    types = {}
    for line in mounts.split("\n"):  # other line ends may be part of a name
        if line:
            _device, mount_point, file_system_type, *_rest = line.split(" ")
            types[Path(OCTAL.sub(lambda code: chr(int(code[1], 8)), mount_point))] = file_system_type
    return next((types[path] for path in (folder, *folder.parents) if path in types), "")


def read_server_info(connection: Connection) -> ServerInfo:
    """Return the version of the SQLite library."""
    return ServerInfo("SQLite", sqlite3.sqlite_version_info, minimum_version=(3, 35))


def run_checks(connection: Connection, tables: Collection[str]) -> Iterator[CheckResult]:
    """Return what is wrong with the settings that a file may override."""
    if is_memory(connection.engine.url):
        return
    journal_mode = connection.scalar(text("PRAGMA journal_mode"))
    if journal_mode != "wal":
        yield problem(
            f"SQLite keeps its journal as {journal_mode} and not as WAL: does its disk allow shared memory?"
        )
    if connection.scalar(text("PRAGMA synchronous")) < FULL:
        yield may_lose_writes("SQLite does not wait for the disk (synchronous)")


def code_of(error: BaseException | None) -> str:
    """Return the name of SQLite's error code."""
    return getattr(error, "sqlite_errorname", "")


def constraint_of(error: BaseException | None) -> str:
    """Return no name, because SQLite's message names columns only."""
    return ""


def lost_a_race(error: BaseException | None) -> bool:
    """Return whether another transaction was faster, so that a second try can succeed."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or code in RACE_CONSTRAINTS


def is_unavailable(error: BaseException | None) -> bool:
    """Return whether the database failed, and not the statement."""
    return isinstance(error, sqlite3.OperationalError | sqlite3.InterfaceError | sqlite3.InternalError)
