"""Expired rows are deleted by the requests that add rows, a few at a time: there is no clean-up job.

Who inserts one row of a table deletes up to `BATCH` expired ones of it, in one statement, so the table
shrinks faster than it grows. Rows that another request is deleting are skipped where the database can do
that. Those of all tenants are deleted alike, so a tenant that nobody uses leaves none behind.
"""

from collections.abc import Callable

from sqlalchemy import Table, bindparam, select

from database import delete_batch
from database.tenancy import EVERY_TENANT
from models import db

BATCH = 4
EXPIRED = {EVERY_TENANT: "what has expired is deleted, whoever had it"}


def expired(table: Table, batch: int = BATCH) -> Callable[[int], None]:
    """Return a function of `now` that deletes up to `batch` expired rows of a table. One statement a call.

    The table has an `expires_at`, and a primary key of one column.
    """
    [key] = table.primary_key.columns
    chosen = (
        select(key)
        .where(table.c.expires_at <= bindparam("now"))
        .order_by(table.c.expires_at)
        .execution_options(**EXPIRED)
    )

    def sweep(now: int) -> None:
        delete_batch(db.session.connection(), chosen, {"now": now}, batch)

    return sweep
