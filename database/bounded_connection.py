"""A psycopg connection that waits for an answer no longer than a limit, and its cursor.

psycopg itself waits without a limit, as libpq does. `statement_timeout` is enforced by the server. It ends
nothing where the server hangs, where the network loses the answer, or where a COMMIT waits for a standby that
is away. A connection that does not answer in time is closed. The statement is never cancelled instead: a
COMMIT that waits for its standby answers a cancel with success.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.engine.interfaces import DBAPICursor

from database.execution import only_reads
from database.timeouts import ANSWER_TIMEOUT

Result = TypeVar("Result")
POLL_SECONDS = 0.1  # psycopg's own default: how often a wait can be interrupted


class Columns(Sequence[psycopg.Column]):
    """The columns of a result, which are read when somebody asks for one."""

    def __init__(self, read: Callable[[], list[psycopg.Column] | None]) -> None:
        self._read = read

    @cached_property
    def _columns(self) -> list[psycopg.Column]:
        return self._read() or []

    def __len__(self) -> int:
        return len(self._columns)

    def __getitem__(self, index: Any) -> Any:
        return self._columns[index]


class Cursor(psycopg.Cursor[TupleRow]):
    """A cursor that describes no columns before somebody asks for one.

    SQLAlchemy asks after each statement whether there are any, and looks at them the first time alone.
    psycopg makes an object of each, which is an eighth of all calls of a refresh.
    """

    @property
    def description(self) -> Sequence[psycopg.Column] | None:  # type: ignore[override]  # as PEP 249 has it
        """The columns of the last statement's rows; None where it has no rows."""
        if self.pgresult is None or not self.pgresult.nfields:
            return super().description
        return Columns(lambda: super(Cursor, self).description)


class BoundedConnection(psycopg.Connection[TupleRow]):
    """A connection that is closed when an answer takes longer than ANSWER_TIMEOUT.

    psycopg sends everything through `wait`, except connecting, which has `connect_timeout`.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.cursor_factory = Cursor

    def send_begin(self) -> None:
        """Begin a transaction in autocommit mode, as psycopg does by itself in the other one."""
        with self.lock:
            self.wait(self._exec_command(b"BEGIN"))

    def wait(
        self, gen: PQGen[Result], interval: float = POLL_SECONDS, timeout: float | None = None
    ) -> Result:
        """Return the answer that a generator of psycopg waits for. Raises psycopg.OperationalError."""
        try:
            return super().wait(gen, interval, timeout or ANSWER_TIMEOUT.total_seconds())
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:  # it has not answered
                self.close()
            raise


def begin_late(cursor: DBAPICursor, sql: str, context: DefaultExecutionContext) -> None:
    """Begin a transaction before a statement that needs one, where none is open."""
    connection = cursor.connection
    if connection.pgconn.transaction_status == TransactionStatus.IDLE and not only_reads(sql, context):
        connection.send_begin()
