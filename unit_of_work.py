"""Run a request, a command or a delivery as one transaction. No other file commits, rolls back or opens one.

Enters: a view. Leaves: its response, after everything it did was committed or undone, and before a byte of it
was sent. A success commits. A refusal rolls back; what must outlive it (a replay revokes the tokens it was
about) is registered with `after_rollback`, and runs after the rollback in a transaction of its own. What lost
a race to another transaction is run again from a clean start, by one loop for all three.
"""

import copy
import logging
import random
import time
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from inspect import signature
from typing import Any, TypeVar, cast

import flask.globals
from flask import Flask, Response, current_app, g, session
from flask.typing import ResponseReturnValue
from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    inspect,
)
from sqlalchemy.exc import DBAPIError
from werkzeug.exceptions import HTTPException

import database
from database import describe, lost_a_race
from errors import DuplicateRequestError, StorageBusyError
from models import db

log = logging.getLogger("ostiary.unit_of_work")

ATTEMPTS = 3
BACKOFF_SECONDS = 0.01
LOST_CONNECTION_SECONDS = 2.0
MAXIMUM_WAITS = 4  # of one request, apart from its transaction

Result = TypeVar("Result")

# Flask 3.2 passes its context to whatever handles a request, and has one kind of context instead of two.
PASSES_CONTEXT = "ctx" in signature(Flask.handle_user_exception).parameters
# Where `get_flashed_messages` keeps what it has taken out of the session.
FLASHES_OF, FLASHES = (
    (flask.globals.app_ctx, "_flashes") if PASSES_CONTEXT else (flask.globals.request_ctx, "flashes")
)

NOT_AT_ALL = timedelta(0)
TABLE_LOCK_TRIES = 100
TABLE_LOCK_PAUSE_SECONDS = 0.1
LONGEST_MIGRATION = timedelta(hours=1)
VERSION_TABLE = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


def nothing() -> None:
    """Do nothing."""


def run_in_transaction(
    view: Callable[[], ResponseReturnValue],
    before: "Snapshot",
    before_retry: Callable[[], None] = nothing,
) -> Response:
    """Run one request as one transaction and return its response, committed or undone.

    before: taken a moment ago; a `PageSnapshot` where there is a session. before_retry: as in
    `run_with_retries`.

    A view that has to wait for somebody else's server is undone first (`run_outside_transaction`), and run
    again with what came of it. An error that no other try can help is raised; `middleware/error_responses.py`
    answers it 503 or 500.
    """
    while True:
        try:
            return run_with_retries(lambda: run_view(view), before.restore, before_retry)
        except OutsideTransaction as wait:
            before.remember(wait)


def run_view(view: Callable[[], ResponseReturnValue]) -> Response:
    """Return the view's response, to be committed: all that the view did, or what outlives its refusal."""
    response = answer(view)
    if is_refused(response):
        db.session.rollback()
        g.after_commit = []
        for callback, arguments in g.after_rollback:
            callback(*arguments)
    return response


def nothing_registered() -> dict[str, Any]:
    """Return what `g` has of a transaction at its start."""
    return {"must_roll_back": False, "is_committing": False, "after_rollback": [], "after_commit": []}


def start_clean() -> None:
    """Forget what an earlier try has registered."""
    g.__dict__.update(nothing_registered())


def run_with_retries(
    work: Callable[[], Result],
    restore: Callable[[], None] = start_clean,
    before_retry: Callable[[], None] = nothing,
) -> Result:
    """Run `work()` as one transaction and return what it returned, committed.

    A lost race (deadlock, serialization failure, a busy SQLite, a unique key that a rival was faster at) runs
    it again, ATTEMPTS tries in all, and so does a connection that was lost before COMMIT was sent. After
    that, and at once for any other failure, the error is raised and nothing is stored. A connection lost
    during COMMIT is not tried again: the second run would take its own claim for a replay.

    restore: puts back what `work` changes outside of the database, and forgets as `start_clean` does.
    before_retry: forgets what was read earlier, when a try has lost.
    """
    began_at = time.monotonic()
    for attempt in range(1, ATTEMPTS + 1):
        restore()
        try:
            result = work()
            commit()
        except BaseException as error:
            reason = retry_reason(error, time.monotonic() - began_at)
            restore()  # the cookie must not say what the rows do not; and the rollback may fail too
            db.session.rollback()
            db.session.expunge_all()  # rows that the next try would take for present may be gone by now
            if reason is None or attempt == ATTEMPTS:
                raise
            if isinstance(error, DBAPIError):
                log.warning("%s, try %d of %d: %s", reason, attempt + 1, ATTEMPTS, describe(error))
            before_retry()
            back_off(attempt)
        else:
            run_after_commit()
            return result
    raise AssertionError("the loop returns or raises")


def back_off(attempt: int) -> None:
    """Wait a moment before the next try, each time for longer."""
    time.sleep(BACKOFF_SECONDS * attempt * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret


def commit() -> None:
    """Commit. Until COMMIT is sent nothing is stored; who loses the connection after that cannot know."""
    if not db.session.registry.has():  # nothing was asked of the database
        return
    db.session.flush()
    g.is_committing = True
    db.session.commit()


def retry_reason(error: BaseException, seconds: float) -> str | None:
    """Return in words why another try, from a clean start, can succeed and cannot do harm; else None.

    seconds: how long it has taken by now. A line that breaks late was one that nothing came through: the next
    would be no better.
    """
    if isinstance(error, DuplicateRequestError):
        return "met the same request"
    if not isinstance(error, DBAPIError):
        return None
    if error.connection_invalidated:
        is_harmless = not g.get("is_committing") and seconds < LOST_CONNECTION_SECONDS
        return "lost its connection" if is_harmless else None
    return "lost a race" if lost_a_race(error) else None


def answer(view: Callable[[], ResponseReturnValue]) -> Response:
    """Return the view's response; an `abort(…)` becomes one here, inside the transaction's boundary.

    So what it has registered with `after_rollback` runs.
    """
    try:
        return current_app.make_response(view())
    except HTTPException as error:
        return current_app.make_response(handle(error))


def handle(error: HTTPException) -> ResponseReturnValue:
    """Return what the application's own error handler makes of this error."""
    context = [flask.globals.app_ctx] if PASSES_CONTEXT else []
    handler: Callable[..., ResponseReturnValue] = current_app.handle_user_exception
    return handler(*context, error)


def is_refused(response: Response) -> bool:
    """Return whether this response undoes its transaction, by its status or because of `mark_rollback`."""
    return bool(g.must_roll_back) or response.status_code >= 400


class OutsideTransaction(Exception):  # noqa: N818 - no error: the request goes on after it
    """A view came to a point where it has to wait for the network."""

    def __init__(self, name: Hashable, work: Callable[[], Any]) -> None:
        super().__init__()
        self.name = name
        self.work = work


def run_outside_transaction(name: Hashable, work: Callable[[], Result]) -> Result:
    """Return what `work()` returns; it runs while this request holds no connection and no lock.

    It may take seconds. The transaction is undone whole and the view runs again from a clean start, as after
    a lost race; there this returns what came of it, under the same name. So all that the request does is one
    transaction still, and none of it is older than the wait. `work` neither raises nor touches the database.
    """
    done = g.get("outside_results", {})
    if name in done:
        return cast(Result, done[name])
    raise OutsideTransaction(name, work)


class Snapshot:
    """What a view can change outside of the database, as it was before: `g`, where a program asks.

    A second try must not see the first.
    """

    def __init__(self) -> None:
        self._g = g.__dict__  # its own: to look `g` up takes longer than to change it
        self._before = dict(self._g)

    def remember(self, wait: OutsideTransaction) -> None:
        """Do the work that a view waits for, and keep what came of it for every later run."""
        done = self._before.get("outside_results", {})
        assert wait.name not in done and len(done) < MAXIMUM_WAITS, "a view waits for ever more"  # noqa: S101, PT018
        self._before["outside_results"] = done | {wait.name: wait.work()}

    def restore(self) -> None:
        """Put everything back as it was before the view."""
        self._g.clear()
        self._g.update(self._before, **nothing_registered())


class PageSnapshot(Snapshot):
    """The same for a page, which can also change the session and the flashes of its browser."""

    def __init__(self) -> None:
        super().__init__()
        self._session = copy.deepcopy(dict(session))
        self._modified = session.modified

    def restore(self) -> None:
        """Put everything back as it was before the view."""
        super().restore()
        setattr(FLASHES_OF, FLASHES, None)
        if session.modified != self._modified or dict(session) != self._session:
            session.clear()
            session.update(copy.deepcopy(self._session))
            session.modified = self._modified


def mark_rollback() -> None:
    """Mark this request as refused, whatever its status: an OAuth error may leave as a redirect."""
    g.must_roll_back = True


def after_rollback(callback: Callable[..., Any], *arguments: Any) -> None:
    """Run `callback(*plain_values)` after the rollback of a refused request, in its own transaction."""
    g.after_rollback.append((callback, arguments))


def after_commit(callback: Callable[[], None]) -> None:
    """Run `callback()`, which never raises and stores nothing, once this transaction is committed."""
    g.setdefault("after_commit", []).append(callback)


def run_after_commit() -> None:
    """Run what was registered with `after_commit`."""
    for callback in g.pop("after_commit", []):
        callback()


@contextmanager
def transaction() -> Iterator[None]:
    """Commit at the end of the block, or roll back when it raises. It is not run again."""
    start_clean()
    try:
        yield
        commit()
    except BaseException:
        db.session.rollback()
        raise
    run_after_commit()


def run_in_app(app: Flask, work: Callable[[], Result]) -> Result:
    """Run `work()` outside of any request as one transaction, and return what it returned, committed."""
    with app.app_context():
        return run_with_retries(work)


def release_connection() -> None:
    """Give the connection back before a wait, in a command that has only read so far."""
    assert not (db.session.new or db.session.dirty or db.session.deleted)  # noqa: S101
    db.session.rollback()


@contextmanager
def migration(
    is_due: Callable[[Connection], bool] = lambda connection: True, on_wait: Callable[[], None] = lambda: None
) -> Iterator[Connection]:
    """Yield the connection that Alembic runs the migrations on; it makes each of them one transaction.

    is_due: whether there is anything to do. Then this process is the only one that migrates, whichever node
    it is on; who comes meanwhile waits (`on_wait`), and finds nothing to do. Raises StorageBusyError where
    that takes longer than an hour.
    """
    engine = database.migration_engine(db.engine)
    with engine.connect() as connection:
        is_wanted = is_due(connection)
        connection.rollback()
        if is_wanted:
            wait_for_turn(connection, on_wait)
        if is_wanted and database.migration_lock_ends_with_transaction(engine.dialect.name):
            with engine.connect() as second:
                yield second
        else:
            connection.commit()
            yield connection


def wait_for_turn(connection: Connection, on_wait: Callable[[], None]) -> None:
    """Wait until no other process migrates."""
    if connection.dialect.name != "sqlite":  # where the first change waits in the queue by itself
        make_version_table(connection)
    if database.lock_for_migration(connection, NOT_AT_ALL):
        return
    connection.rollback()
    on_wait()
    if not database.lock_for_migration(connection, LONGEST_MIGRATION):
        raise StorageBusyError


def make_version_table(connection: Connection) -> None:
    """Make Alembic's own table, in its own shape, before it does: there must be something to lock.

    Two at once make it once.
    """
    try:
        VERSION_TABLE.create(connection, checkfirst=True)
        connection.commit()
    except DBAPIError:
        connection.rollback()
        if not inspect(connection).has_table(VERSION_TABLE.name):
            raise
        connection.rollback()


def lock_tables(connection: Connection, tables: Collection[str]) -> None:
    """Lock all tables that a migration changes, before it changes the first.

    A request may hold one of them and wait for another. So a try that does not get all of them at once gives
    back those that it has, and there is another one a moment later.
    """
    if connection.dialect.name != "postgresql":  # the others lock no single tables, or none
        database.lock_tables(connection, tables)
        return
    for tries_left in reversed(range(TABLE_LOCK_TRIES)):
        try:
            with connection.begin_nested():
                database.lock_tables(connection, tables)
            return
        except DBAPIError as error:
            if not tries_left or not lost_a_race(error):
                raise
        time.sleep(TABLE_LOCK_PAUSE_SECONDS)
