"""How `flask db …` runs the migrations: on the app's own engine, each migration in one transaction, on SQLite
too.

What changes the tables says on stderr where they are, and from which revision to which they went.
"""

from collections.abc import Iterable
from typing import Any

import click
from alembic import context
from alembic.migration import MigrationContext
from flask import current_app
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

import database
import unit_of_work
from commands.output import NOT_MIGRATED, CommandError, busy_problem, database_problem, target_database
from errors import StorageBusyError
from services.current import settings

NOTHING = "an empty database"


def skip_empty_revisions(migration_context: Any, revision: Any, directives: list[Any]) -> None:
    if getattr(context.config.cmd_opts, "autogenerate", False) and directives[0].upgrade_ops.is_empty():
        directives[:] = []


def find_destination() -> str | None:
    """The revision to come to, or None for a command that only looks."""
    try:
        return str(context.get_revision_argument())
    except KeyError:
        return None


def in_words(revisions: Iterable[str]) -> str:
    return ", ".join(revisions) or NOTHING


def revision_of(connection: Connection) -> str:
    return in_words(MigrationContext.configure(connection).get_current_heads())


def is_due(connection: Connection) -> bool:
    return destination is not None and revision_of(connection) != destination


def tell(words: str) -> None:
    click.echo(words, err=True)


def run(connection: Connection) -> None:
    steps: list[Any] = []
    context.configure(
        connection=connection,
        target_metadata=migrate.db.metadata,
        process_revision_directives=skip_empty_revisions,
        on_version_apply=lambda step, **rest: steps.append(step),
        transaction_per_migration=True,
        transactional_ddl=True,
        **migrate.configure_args,
    )
    with context.begin_transaction():
        context.run_migrations()
    if destination is None:
        return
    tell(target_database())
    if steps:
        tell(
            f"Migrated from {in_words(steps[0].source_revision_ids)} to"
            f" {in_words(steps[-1].destination_revision_ids)}."
        )
    else:
        tell(f"Nothing to migrate: it is at {revision_of(connection)}.")


migrate = current_app.extensions["migrate"]
destination = find_destination()
if destination is None and not database.is_there(settings.database_url):
    raise CommandError(NOT_MIGRATED)
try:
    with unit_of_work.migration(is_due, lambda: tell("Somebody else migrates: waiting.")) as connection:
        run(connection)
except StorageBusyError as error:
    raise CommandError(busy_problem(error)) from None
except DBAPIError as error:
    if not database.is_unavailable(error):
        raise
    raise CommandError(database_problem(error)) from None
