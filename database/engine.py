"""What each engine's own file has to offer. The functions of `database` choose among them by URL, dialect or error."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import timedelta
from functools import cache
from typing import Any, Protocol

from sqlalchemy import URL, Connection, Delete, Engine, Select, Table, delete, select

from database.findings import Facts, Finding

Change = Callable[[Any], dict[str, Any]]  # from the row that would have been inserted to the columns to set


class EngineFile(Protocol):
    """`database/sqlite.py`, `postgresql.py` and `mariadb.py`. Errors are the driver's own."""

    @property
    def Error(self) -> type[Exception]: ...  # noqa: N802 - the name that PEP 249 has for it

    def options(self, url: URL) -> dict[str, Any]:
        """Arguments of `create_engine`."""

    def prepare(self, engine: Engine) -> None:
        """Listen to an engine that has not connected yet."""

    def patient(self, engine: Engine) -> Engine:
        """One for the same database, for migrations, which may take their time; requests may not."""

    def take_turn(self, connection: Connection, wait: timedelta) -> bool:
        """Be the only one who migrates, until the connection is closed; on PostgreSQL until the transaction ends."""

    def insert_or_change(self, into: Table, key: Sequence[str], change: Change) -> Any: ...

    def insert_if_new(self, into: Table, key: str) -> Any: ...

    def delete_chosen(self, session: Any, chosen: Select[Any], parameters: dict[str, Any], count: int) -> None: ...

    def lost_a_race(self, error: Any) -> bool: ...

    def is_unavailable(self, error: Any) -> bool: ...

    def place_findings(self, url: URL) -> Iterable[Finding]:
        """What is odd about where it is. Opens no connection."""

    def look(self, connection: Connection) -> Facts: ...

    def findings(self, connection: Connection, tables: Collection[str]) -> Iterable[Finding]:
        """What only this engine can be looked at for."""

    def code_of(self, error: Any) -> str: ...

    def constraint_of(self, error: Any) -> str: ...


@cache
def delete_passing_by(chosen: Select[Any], count: int) -> Delete:
    """The DELETE of `database.delete_chosen` where one statement looks the rows up by their key.

    The derived table keeps the LIMIT out of the IN, which may be asked for every row.
    """
    [key] = chosen.selected_columns
    keys = chosen.limit(count).with_for_update(skip_locked=True).subquery("chosen")
    return delete(key.table).where(key.in_(select(*keys.c))).execution_options(synchronize_session=False)
