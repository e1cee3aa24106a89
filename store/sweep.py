"""Rows that have expired are deleted by the requests that add rows, a few at a time: there is no janitor.

Whoever inserts one row of a kind removes up to `BATCH` expired ones of it, in one statement, so a table shrinks faster than
it grows. Rows that somebody else is sweeping are passed over where the database can do that.
"""

from typing import Any

from sqlalchemy import Delete, bindparam, delete, select

BATCH = 4


def expired(model: Any, key: Any, batch: int = BATCH) -> Delete:
    """A DELETE of up to `batch` rows of `model` that have expired; run it with `now`.

    The derived table keeps the LIMIT out of the IN, where some databases refuse it.
    """
    some = (
        select(key)
        .where(model.expires_at <= bindparam("now"))
        .order_by(model.expires_at)
        .limit(batch)
        .with_for_update(skip_locked=True)
        .subquery("some_expired")
    )
    return delete(model).where(key.in_(select(some.c[key.key]))).execution_options(synchronize_session=False)
