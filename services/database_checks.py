"""What is odd about the database in use: asked by `flask config check`, by `flask prove`, and once when a
server starts.

Enters: the running app. Leaves: findings, each with what to do; and at a start a line of the log for each.
"""

import logging
import os
from collections.abc import Iterable

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
    """Worker processes of a server that is started with this environment."""
    return int(os.environ.get("WEB_CONCURRENCY") or PROCESSES)


def run_checks(of_processes: int | None = None) -> list[CheckResult]:
    """What is odd about the database.

    Raises DBAPIError, PoolTimeoutError or InvalidRequestError where it cannot be asked.
    """
    with transaction():
        return database.run_checks(
            db.session.connection(), db.metadata.tables.keys(), of_processes or processes()
        )


def log_problems(app: Flask, of_processes: int) -> None:
    """At a start, which goes on: a database that is away may come back, and what is odd may be meant."""
    with app.app_context():
        try:
            found: Iterable[CheckResult] = run_checks(of_processes)
        except (DBAPIError, PoolTimeoutError, InvalidRequestError) as error:
            log.warning("the database cannot be asked: %s", type(error).__name__)
            return
    for finding in found:
        log.log(logging.ERROR if finding.severity == "problem" else logging.WARNING, "%s", finding.text)
