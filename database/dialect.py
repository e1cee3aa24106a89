"""What each engine's own file has to offer.

The functions of `database` choose among them by URL, dialect or error.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import timedelta
from functools import cache
from typing import Any, Protocol

from sqlalchemy import URL, Connection, Delete, Engine, Select, Table, delete, select

from database.checks import CheckResult, ServerInfo

Change = Callable[[Any], dict[str, Any]]  # from the row that would have been inserted to the columns to set


class Dialect(Protocol):
    """`database/sqlite.py`, `postgresql.py` and `mariadb.py`. Errors are the driver's own."""

    @property
    def Error(self) -> type[Exception]: ...  # noqa: N802 - the name that PEP 249 has for it

    def options(self, url: URL) -> dict[str, Any]:
        """Arguments of `create_engine`."""

    def prepare(self, engine: Engine) -> None:
        """Listen to an engine that has not connected yet."""

    def migration_engine(self, engine: Engine) -> Engine:
        """One for the same database, for migrations, which may take their time; requests may not."""

    def take_turn(self, connection: Connection, wait: timedelta) -> bool:
        """Be the only one who migrates, until the connection is closed; on PostgreSQL until the transaction
        ends.
        """

    def upsert(self, into: Table, key: Sequence[str], change: Change) -> Any: ...

    def insert_or_ignore(self, into: Table, key: str) -> Any: ...

    def delete_batch(
        self, session: Any, chosen: Select[Any], parameters: dict[str, Any], count: int
    ) -> None: ...

    def lost_a_race(self, error: Any) -> bool: ...

    def is_unavailable(self, error: Any) -> bool: ...

    def check_location(self, url: URL) -> Iterable[CheckResult]:
        """What is odd about where it is. Opens no connection."""

    def read_server_info(self, connection: Connection) -> ServerInfo: ...

    def run_checks(self, connection: Connection, tables: Collection[str]) -> Iterable[CheckResult]:
        """What only this engine can be looked at for."""

    def code_of(self, error: Any) -> str: ...

    def constraint_of(self, error: Any) -> str: ...


@cache
def skip_locked_delete(chosen: Select[Any], count: int) -> Delete:
    """The DELETE of `database.delete_batch` where one statement looks the rows up by their key.

    The derived table keeps the LIMIT out of the IN, which may be asked for every row.
    """
    [key] = chosen.selected_columns
    keys = chosen.limit(count).with_for_update(skip_locked=True).subquery("chosen")
    return delete(key.table).where(key.in_(select(*keys.c))).execution_options(synchronize_session=False)
