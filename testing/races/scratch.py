"""The scratch database of a run: a schema, a database or a file beside the operator's, dropped afterwards.

Enters: an app. Leaves: its settings with another database URL. The name of a scratch database says until when
it may be in use, and by which process. So the next run can drop what a killed run left behind.
"""

import hashlib
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from flask import Flask
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

import database
import database.scratch
from config import Settings
from models import db
from protocol import clock
from services.current import state_of
from unit_of_work import transaction

PREFIX = "ostiary_prove_"
NAME = re.compile(r"ostiary_prove_(?P<until>\d+)_(?P<host>[0-9a-f]+)_(?P<process>\d+)")


class NoScratchDatabaseError(Exception):
    """No scratch database could be created."""


@contextmanager
def scratch_database(app: Flask, duration: timedelta) -> Iterator[Settings]:
    """Yield settings for an empty scratch database beside the tables of this app; drop it at the end.

    duration: how long it is needed at most; after that any other run may drop it. Raises
    NoScratchDatabaseError, or DBAPIError where the database is away.
    """
    name = new_name(duration)
    settings: Settings = state_of(app).settings
    with app.app_context():
        left_over = find_left_over()
        try:
            for old_name in left_over:
                drop(old_name)
            make(name)
        except DBAPIError as error:
            what = "its user must be allowed to create a schema of its own (on MariaDB a database)"
            raise NoScratchDatabaseError(
                f"the database refused ({database.describe(error)}): {what}"
            ) from None
    try:
        url = database.scratch.scratch_url(settings.database_url, name)
        if not leads_to(url, name):
            raise NoScratchDatabaseError(
                "a pool or proxy in between drops `options`, which select the scratch schema: go around it"
            )
        yield settings.model_copy(update={"database_url": url})
    finally:
        with app.app_context():
            drop(name)


def make(name: str) -> None:
    """Create a scratch database."""
    with transaction():
        database.scratch.create_scratch(db.session.connection(), name)


def leads_to(url: str, name: str) -> bool:
    """Return whether a connection to this URL is in the scratch database.

    Otherwise the races would use the operator's own tables.
    """
    engine = create_engine(url, **database.engine_options(url))
    database.prepare(engine)
    try:
        with Session(engine) as session:
            return database.scratch.is_in_scratch(session.connection(), name)
    finally:
        engine.dispose()


def drop(name: str) -> None:
    """Drop a scratch database."""
    with transaction():
        database.scratch.drop_scratch(db.session.connection(), name)


def find_left_over() -> list[str]:
    """Return the names of scratch databases that no process uses any more."""
    with transaction():
        return list(filter(is_left_over, database.scratch.find_scratches(db.session.connection(), PREFIX)))


def new_name(duration: timedelta) -> str:
    """Return the name of a scratch database that this process uses for so long."""
    return f"{PREFIX}{clock.now() + int(duration.total_seconds())}_{this_host()}_{os.getpid()}"


def is_left_over(name: str) -> bool:
    """Return whether no process uses a scratch database: its time is over, or its process here has ended."""
    parts = NAME.fullmatch(name)
    if parts is None:
        return False
    if int(parts["until"]) < clock.now():
        return True
    return parts["host"] == this_host() and not is_another_process(int(parts["process"]))


def this_host() -> str:
    """Return a short digest of this host's name."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def is_another_process(process_id: int) -> bool:
    """Return whether another process with this id runs; our own has no scratch database yet."""
    if process_id == os.getpid():
        return False
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
