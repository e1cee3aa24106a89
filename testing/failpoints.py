"""Tell a test which point of a transaction this process has reached, so that it dies, hangs or fails there.

Enters: the engine's own events, seen from one listener each. Leaves: the name of the point. `arm` is for
tests that kill processes: it takes its orders from a file, so that one running server serves any number of
them. The application attaches nothing by itself, and has no setting for it.
"""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from flask import has_request_context
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

POINTS = ("begin", "lock", "claim", "delete", "insert", "update", "read", "before-commit", "after-commit")
ACTIONS = ("kill", "raise", "hang")

# A claim takes one credential and learns by the rows that come back whether it was there.
CLAIM = re.compile(
    r"DELETE FROM \w+ WHERE .*_digest = .* RETURNING|INSERT (IGNORE )?INTO spent_assertion", re.DOTALL
)

Reached = Callable[[str, Connection], None]


def listen(engine: Engine, reached: Reached) -> None:
    """Call `reached(point, connection)` at every point of every transaction.

    It may raise one of the driver's errors. A statement's point is when the database has done it: an error
    there is a statement that failed with its work half done.
    """

    @event.listens_for(engine, "begin")
    def begin(conn: Connection) -> None:
        with as_sqlalchemy_error(conn):
            reached("begin", conn)

    @event.listens_for(engine, "after_cursor_execute")
    def statement(conn: Connection, cursor: Any, sql: str, parameters: Any, context: Any, many: bool) -> None:
        with as_sqlalchemy_error(conn):
            reached(kind_of(sql, context), conn)

    @event.listens_for(engine, "commit")
    def commit(conn: Connection) -> None:
        with as_sqlalchemy_error(conn):
            reached("before-commit", conn)
            # SQLAlchemy's own COMMIT, after this, finds nothing left to do
            conn.dialect.do_commit(conn.connection)
            reached("after-commit", conn)


@contextmanager
def as_sqlalchemy_error(conn: Connection) -> Iterator[None]:
    """Raise the driver's errors as a session raises them.

    SQLAlchemy translates what the driver raises, and not always what events do.
    """
    driver: Any = conn.dialect.loaded_dbapi
    try:
        yield
    except driver.Error as error:
        is_disconnect = conn.dialect.is_disconnect(error, conn.connection, None)
        raise DBAPIError.instance(
            None, None, error, driver.Error, connection_invalidated=is_disconnect, dialect=conn.dialect
        ) from error


def kind_of(sql: str, context: Any) -> str:
    """Return which point a statement is."""
    if CLAIM.match(sql):
        return "claim"
    for kind in ("delete", "insert", "update"):
        if sql.lstrip()[:6].lower() == kind:
            return kind
    is_lock = getattr(getattr(context.compiled, "statement", None), "_for_update_arg", None) is not None
    return "lock" if is_lock else "read"


class Action(NamedTuple):
    """`POINT:ACTION[:SECONDS][:N]`: what to do there, the n-th time."""

    point: str
    action: str
    seconds: float = 0
    passes: int = 1

    @classmethod
    def parse(cls, text: str) -> "Action":
        """Return the action that a text is. Raises ValueError or IndexError for one that is none."""
        point, action, *rest = text.strip().split(":")
        if point not in POINTS or action not in ACTIONS:
            raise ValueError(f"no such failpoint: {text!r}")
        seconds = float(rest.pop(0)) if action == "hang" else 0
        return cls(point, action, seconds, *map(int, rest))

    def __str__(self) -> str:
        seconds = [str(self.seconds)] if self.action == "hang" else []
        return ":".join([self.point, self.action, *seconds, str(self.passes)])


def arm(engine: Engine, orders: Path) -> None:
    """Do what the file `orders` says, when a request reaches the point that it names.

    The file is removed first: of several processes one acts, once. Without the file nothing happens.
    """

    def reached(point: str, conn: Connection) -> None:
        if has_request_context() and (order := take(orders, point)):
            act(order, conn)

    listen(engine, reached)


def take(orders: Path, point: str) -> Action | None:
    """Return the order for this point, if this is its pass and nobody else was faster."""
    with suppress(FileNotFoundError):
        order = Action.parse(orders.read_text())
        if order.point != point:
            return None
        if order.passes > 1:
            orders.write_text(str(order._replace(passes=order.passes - 1)))
            return None
        orders.unlink()
        return order
    return None


def act(order: Action, conn: Connection) -> None:
    """Do what an order says."""
    if order.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if order.action == "hang":
        time.sleep(order.seconds)
    if order.action == "raise":
        driver: Any = conn.dialect.loaded_dbapi
        raise driver.OperationalError("failpoint")
