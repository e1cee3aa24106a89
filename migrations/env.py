"""How `flask db …` runs the migrations: on the app's own engine, each migration in one transaction, on SQLite too."""

from typing import Any

from alembic import context
from flask import current_app

import unit_of_work


def skip_empty_revisions(migration_context: Any, revision: Any, directives: list[Any]) -> None:
    if getattr(context.config.cmd_opts, "autogenerate", False) and directives[0].upgrade_ops.is_empty():
        directives[:] = []


migrate = current_app.extensions["migrate"]
with unit_of_work.migration() as connection:
    context.configure(
        connection=connection,
        target_metadata=migrate.db.metadata,
        process_revision_directives=skip_empty_revisions,
        transaction_per_migration=True,
        transactional_ddl=True,
        **migrate.configure_args,
    )
    with context.begin_transaction():
        context.run_migrations()
