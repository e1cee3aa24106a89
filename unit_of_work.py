"""One request, one transaction: the only place that commits, rolls back or opens a transaction.

Enters: a view. Leaves: its response, after everything it did was committed or undone, and before a byte of it
was sent. A success commits. A refusal rolls back; what must outlive it (a replay ends the tokens it was
about) is a *penalty*, run after the rollback in a transaction of its own. A request that lost a race to
another is run again from a clean start.
"""

import copy
import logging
import random
import time
from collections.abc import Callable, Hashable, Iterator
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
LONGEST_MIGRATION = timedelta(hours=1)
VERSION_TABLE = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


def run_in_transaction(view: Callable[[], ResponseReturnValue]) -> Response:
    """Run one request as one transaction and return its response, committed or undone.

    A lost race (deadlock, serialization failure, a busy SQLite, a unique key that a rival was faster at) runs
    the view again, ATTEMPTS tries in all, and so does a connection that was lost before COMMIT was sent.
    After that, and at once for any other failure, the error is raised; `middleware/error_responses.py`
    answers it 503 or 500. A connection lost during COMMIT is not tried again: the second run would take its
    own claim for a replay. A view that has to wait for somebody else's server is undone first (`apart`), and
    run again with what came of it.
    """
    before = Snapshot()
    began_at = time.monotonic()
    attempt = 1
    while True:
        before.restore()
        try:
            response = answer(view)
            if g.refused or response.status_code >= 400:
                db.session.rollback()
                g.after_commit = []
                for penalty, arguments in g.penalties:
                    penalty(*arguments)
            commit()
            run_after_commit()
            return response
        except OutsideTransaction as wait:
            before.restore()
            db.session.rollback()
            db.session.expunge_all()
            before.remember(wait)
            began_at = time.monotonic()
        except DBAPIError as error:
            mishap = retry_reason(error, time.monotonic() - began_at)
            before.restore()  # the cookie must not say what the rows do not; and the rollback may fail too
            db.session.rollback()
            if attempt == ATTEMPTS or mishap is None:
                raise
            db.session.expunge_all()  # rows that the next try would take for present may be gone by now
            log.warning("%s, try %d of %d: %s", mishap, attempt + 1, ATTEMPTS, describe(error))
            # jitter, not a secret
            time.sleep(BACKOFF_SECONDS * attempt * random.uniform(0.5, 1.5))  # noqa: S311
            attempt += 1
        except DuplicateRequestError:
            before.restore()
            db.session.rollback()
            db.session.expunge_all()
            if attempt == ATTEMPTS:
                raise StorageBusyError from None
            attempt += 1
        except BaseException:
            before.restore()
            db.session.rollback()
            raise


def commit() -> None:
    """Until COMMIT is sent nothing is stored; whoever loses the connection after that cannot know."""
    db.session.flush()
    g.is_committing = True
    db.session.commit()


def retry_reason(error: DBAPIError, seconds: float) -> str | None:
    """In words, if running the whole request again, from a clean start, can be expected to succeed and cannot
    do harm.

    seconds: how long it has taken by now. A line that breaks late was one that nothing came through: the next
    would be no better.
    """
    if error.connection_invalidated:
        is_harmless = not g.get("is_committing") and seconds < LOST_CONNECTION_SECONDS
        return "lost its connection" if is_harmless else None
    return "lost a race" if lost_a_race(error) else None


def answer(view: Callable[[], ResponseReturnValue]) -> Response:
    """The view's response; an `abort(…)` becomes one here, inside the transaction's boundary, so that its
    penalties run.
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


class OutsideTransaction(Exception):  # noqa: N818 - no error: the request goes on after it
    """A view came to a point where it has to wait for the network."""

    def __init__(self, name: Hashable, work: Callable[[], Any]) -> None:
        super().__init__()
        self.name = name
        self.work = work


def run_outside_transaction(name: Hashable, work: Callable[[], Result]) -> Result:
    """What `work()` returns, which may take seconds: it runs while this request holds no connection and no
    lock.

    The transaction is undone whole and the view runs again from a clean start, as after a lost race; there
    this returns what came of it, under the same name. So all that the request does is one transaction still,
    and none of it is older than the wait. `work` neither raises nor touches the database.
    """
    done = g.get("apart", {})
    if name in done:
        return cast(Result, done[name])
    raise OutsideTransaction(name, work)


class Snapshot:
    """What a view can change outside of the database, as it was before: a second try must not see
    the first.
    """

    def __init__(self) -> None:
        self._g = dict(g.__dict__)
        self._session = copy.deepcopy(dict(session))
        self._modified = session.modified

    def remember(self, wait: OutsideTransaction) -> None:
        """Do the work that a view waits for; every later run knows what came of it."""
        done = self._g.get("apart", {})
        assert wait.name not in done and len(done) < MAXIMUM_WAITS, "a view waits for ever more"  # noqa: S101, PT018
        self._g["apart"] = done | {wait.name: wait.work()}

    def restore(self) -> None:
        g.__dict__.clear()
        g.__dict__.update(self._g)
        g.refused = False
        g.penalties = []
        g.after_commit = []
        setattr(FLASHES_OF, FLASHES, None)
        if session.modified != self._modified or dict(session) != self._session:
            session.clear()
            session.update(copy.deepcopy(self._session))
            session.modified = self._modified


def mark_rollback() -> None:
    """Mark this request as refused, whatever its status: an OAuth error may leave as a redirect."""
    g.refused = True


def after_rollback(penalty: Callable[..., Any], *arguments: Any) -> None:
    """Run `penalty(*arguments)` after the rollback of this refused request.

    Plain values only: rows have expired by then.
    """
    g.penalties.append((penalty, arguments))


def after_commit(callback: Callable[[], None]) -> None:
    """Run `callback()` when this transaction is committed; not for a try that was undone.

    It stores nothing and never raises.
    """
    g.setdefault("after_commit", []).append(callback)


def run_after_commit() -> None:
    for callback in g.pop("after_commit", []):
        callback()


@contextmanager
def transaction() -> Iterator[None]:
    """One transaction for a command: committed at the end of the block, rolled back when it raises."""
    try:
        yield
        db.session.commit()
    except BaseException:
        db.session.rollback()
        db.session.expunge_all()  # a command is run again too
        g.pop("after_commit", None)
        raise
    run_after_commit()


def run_in_app(app: Flask, work: Callable[[], Result]) -> Result:
    """Run `work()` as one transaction outside of any request, again when it lost a race, and return what it
    returned.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with app.app_context(), transaction():
                return work()
        except DBAPIError as error:
            if attempt == ATTEMPTS or not lost_a_race(error):
                raise
    raise AssertionError("the loop returns or raises")


def release_connection() -> None:
    """Give the connection back before a wait, in a command that has only read so far."""
    assert not (db.session.new or db.session.dirty or db.session.deleted)  # noqa: S101
    db.session.rollback()


@contextmanager
def migration(
    is_due: Callable[[Connection], bool] = lambda connection: True, on_wait: Callable[[], None] = lambda: None
) -> Iterator[Connection]:
    """The connection that Alembic runs the migrations on; it makes each of them one transaction.

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
        if is_wanted and database.turn_is_a_transaction(engine.dialect.name):
            with engine.connect() as second:
                yield second
        else:
            connection.commit()
            yield connection


def wait_for_turn(connection: Connection, on_wait: Callable[[], None]) -> None:
    if connection.dialect.name != "sqlite":  # where the first change waits in the queue by itself
        make_version_table(connection)
    if database.take_turn(connection, NOT_AT_ALL):
        return
    connection.rollback()
    on_wait()
    if not database.take_turn(connection, LONGEST_MIGRATION):
        raise StorageBusyError


def make_version_table(connection: Connection) -> None:
    """Alembic's own, in its own shape, before it does: there must be something to lock.

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
