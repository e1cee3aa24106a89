"""Checks of the database in use, for `flask config check`, `flask prove`, and the start of a server.

Enters: the running app. Leaves: results of checks, each with what to do; at a start one log line for each.
"""

import logging
import os

from flask import Flask
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

import database
from database import CheckResult
from models import db
from unit_of_work import transaction

log = logging.getLogger("ostiary.database_checks")

PROCESSES = 2


def processes() -> int:
    """Return the number of worker processes of a server that is started with this environment."""
    return int(os.environ.get("WEB_CONCURRENCY") or PROCESSES)


def run_checks(of_processes: int | None = None) -> list[CheckResult]:
    """Return what is wrong with the database.

    of_processes: worker processes of the node; None for those of this environment. Raises DBAPIError,
    PoolTimeoutError or InvalidRequestError where the database does not answer.
    """
    with transaction():
        return database.run_checks(
            db.session.connection(), db.metadata.tables.keys(), of_processes or processes()
        )


def log_problems(app: Flask, of_processes: int) -> None:
    """Log what is wrong with the database when a server starts.

    The start goes on: a database that is away may come back, and a warning may be intended.
    """
    with app.app_context():
        try:
            results = run_checks(of_processes)
        except (DBAPIError, PoolTimeoutError, InvalidRequestError) as error:
            log.warning("the database does not answer: %s", type(error).__name__)
            return
    for result in results:
        log.log(logging.ERROR if result.severity == "problem" else logging.WARNING, "%s", result.text)
