"""What the file of each database has to offer, and what these files share.

The functions of `database` choose a file by URL, dialect or error.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Any, Protocol, TypeAlias

from sqlalchemy import (
    URL,
    Connection,
    Delete,
    Engine,
    Insert,
    Select,
    Table,
    delete,
    select,
)
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.elements import KeyedColumnElement

from database.checks import CheckResult, ServerInfo

# Arguments by name, of `create_engine` or of a driver's `connect`: neither has a type for them.
Arguments: TypeAlias = dict[str, Any]
KeySelect: TypeAlias = Select[Any]  # selects one column, the primary key of a table
NewRow: TypeAlias = ReadOnlyColumnCollection[str, KeyedColumnElement[Any]]  # the row of an INSERT, in SQL
Change = Callable[[NewRow], Mapping[str, object]]  # from the new row to the columns to set in the old one


class Dialect(Protocol):
    """`database/sqlite.py`, `postgresql.py` and `mariadb.py`. Errors are those of the driver."""

    @property
    def Error(self) -> type[Exception]: ...  # noqa: N802 - the name that PEP 249 has for it

    @property
    def CAN_LOCK_ONE_OF_A_JOIN(self) -> bool: ...  # noqa: N802 - a constant of the file

    def options(self, url: URL) -> Arguments:
        """Return the arguments of `create_engine`."""

    def prepare(self, engine: Engine) -> None:
        """Add event listeners to an engine that has not connected yet."""

    def migration_engine(self, engine: Engine) -> Engine:
        """Return an engine on the same database, without the short time-outs of requests.

        It has no listener of the application's engine, and on SQLite it enforces no foreign keys.
        """

    def lock_tables(self, connection: Connection, tables: Collection[str]) -> None:
        """Lock tables for a migration, where the database can do that over an ALTER."""

    def find_orphans(self, connection: Connection) -> Iterable[str]:
        """Return the tables with rows whose parents are missing, where that can be after a migration."""

    def lock_for_migration(self, connection: Connection, wait: timedelta) -> bool:
        """Return whether this connection got the lock that only one migrating process can hold.

        It holds the lock until it is closed; on PostgreSQL until its transaction ends.
        """

    def upsert(self, into: Table, key: Sequence[str], change: Change) -> Insert: ...

    def insert_or_ignore(self, into: Table, key: str) -> Insert: ...

    def delete_batch(
        self, connection: Connection, chosen: KeySelect, parameters: Mapping[str, object], count: int
    ) -> None: ...

    def lost_a_race(self, error: BaseException | None) -> bool: ...

    def is_unavailable(self, error: BaseException | None) -> bool: ...

    def check_location(self, url: URL) -> Iterable[CheckResult]:
        """Return what is wrong with the place of the database. Opens no connection."""

    def read_server_info(self, connection: Connection) -> ServerInfo: ...

    def run_checks(self, connection: Connection, tables: Collection[str]) -> Iterable[CheckResult]:
        """Return what is wrong by checks that only this database needs."""

    def code_of(self, error: BaseException | None) -> str: ...

    def constraint_of(self, error: BaseException | None) -> str: ...


@cache
def skip_locked_delete(chosen: KeySelect, count: int) -> Delete:
    """Return a DELETE of the first `count` chosen rows that skips rows which others have locked.

    The derived table keeps the LIMIT out of the IN, which a database may evaluate for every row.
    """
    [key] = chosen.selected_columns
    keys = chosen.limit(count).with_for_update(skip_locked=True).subquery("chosen")
    first = delete(key.table).where(key.in_(select(*keys.c)))
    return first.execution_options(**chosen.get_execution_options())
