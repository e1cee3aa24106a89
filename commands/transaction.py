"""Run the work of a command as one transaction on a migrated database, for one tenant or for each.

Enters: a function. Leaves: what it returned, committed; or `CommandError`, also for what a service refuses
and for a database that is away. A command that lost a race to a request is run again, as
`unit_of_work.run_in_transaction` does it: nothing was printed before the commit.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import click
import flask_migrate
from flask import current_app
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

import database
import services.tenants
import store.migration_state
from commands.problem_texts import problem_texts
from database import describe, is_unavailable, lost_a_race
from errors import ConfigError, ConflictError, InvalidInputError, ServiceError, StorageBusyError
from models import db
from services.current import settings, state_of
from services.tenant_state import HOME_NAME, TenantState, entered
from unit_of_work import run_with_retries

Value = TypeVar("Value")

MIGRATE = ".venv/bin/flask db upgrade"
NOT_MIGRATED = f"the database is not migrated: run `{MIGRATE}` first"
IS_MYSQL = "the database server is MySQL: Ostiary needs MariaDB, which the URL names"


class CommandError(click.ClickException):
    """Say that the command was understood and not carried out; nothing was stored. Exit code 1."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        several = "\n".join(["nothing was stored:", *(f"  - {problem}" for problem in problems)])
        super().__init__(problems[0] if len(problems) == 1 else several)


def apply_migrations() -> None:
    """Migrate the database, as `flask db upgrade` does. Raise CommandError where it cannot be reached."""
    try:
        flask_migrate.upgrade()
    except DBAPIError as error:
        raise CommandError(database_problem(error)) from None
    except StorageBusyError as error:
        raise CommandError(busy_problem(error)) from None


@contextmanager
def refuse_with(problems: list[str]) -> Iterator[None]:
    """Raise CommandError for wrong arguments, together with all that a service finds wrong in the block."""
    try:
        yield
    except InvalidInputError as error:
        raise CommandError(*problems, *problem_texts(error.problems)) from None
    except ConflictError:
        if problems:
            raise CommandError(*problems) from None
        raise
    if problems:
        raise CommandError(*problems)


def run_command(command: Callable[[], Value]) -> Value:
    """Run a command as one transaction and return its result, committed.

    Raise CommandError, also for what a service refuses, and for a database that is away.
    """
    try:
        if not database.is_there(settings.database_url):  # connecting would make it
            raise CommandError(NOT_MIGRATED)
        return run_with_retries(lambda: run_if_migrated(command))
    except ServiceError as error:
        raise CommandError(*problem_texts(error.problems)) from None
    except DBAPIError as error:
        raise CommandError(database_problem(error)) from None
    except (PoolTimeoutError, StorageBusyError) as error:
        raise CommandError(busy_problem(error)) from None


def run_if_migrated(command: Callable[[], Value]) -> Value:
    """Return the result of a command. Raise CommandError where the database is not migrated."""
    if not store.migration_state.is_migrated():
        raise CommandError(NOT_MIGRATED)
    return command()


def database_problem(error: DBAPIError) -> str:
    """Return what went wrong, without the values of the statement.

    The driver's own words are used only where no statement was at fault.
    """
    if is_unavailable(error) and not lost_a_race(error):
        reason = str(error.orig).strip().splitlines() or [describe(error)]
        return f"the database cannot be used: {reason[0]}"
    return f"the database refused: {describe(error)}"


def busy_problem(error: Exception) -> str:
    """Return why the queue for the database did not move."""
    cause = error.__cause__
    if isinstance(cause, OSError):  # SQLite's lock file, which is opened before the first change
        advice = "run this as the user that the server runs as"
        return f"{cause.filename} cannot be opened ({cause.strerror}): {advice}"
    return "the database is too busy: try again"


# ---- for a tenant ------------------------------------------------------------------------------------------


def find_tenant(name: str) -> TenantState:
    """Return the tenant with this name.

    Raises CommandError, also where tenants are off, and where the tenant's settings cannot be used.
    """
    known = state_of(current_app).tenants
    if name == HOME_NAME:
        return known.home
    row = for_tenant(known.home, lambda: run_command(lambda: services.tenants.get(name)))
    try:
        return known.state_of(row)
    except ConfigError as error:
        raise CommandError(*error.problems) from None


def tenant_names() -> list[str]:
    """Return the names of all tenants, home first. Raises CommandError where tenants are off."""
    others = for_tenant(find_tenant(HOME_NAME), lambda: run_command(services.tenants.all_others))
    return [HOME_NAME, *(row.name for row in others)]


def for_tenant(tenant: TenantState, work: Callable[[], Value]) -> Value:
    """Return what `work()` returns for a tenant; no row of the tenant stays in the session."""
    with entered(tenant):
        try:
            return work()
        finally:
            db.session.remove()


def for_each_tenant(work: Callable[[], Value]) -> dict[str, Value]:
    """Return what `work()` returns for each tenant, by name, home first. Raises CommandError."""
    return {name: for_tenant(find_tenant(name), work) for name in tenant_names()}
