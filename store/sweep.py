"""Rows that have expired are deleted by the requests that add rows, a few at a time: there is no janitor.

Whoever inserts one row of a kind removes up to `BATCH` expired ones of it, in one statement, so a table
shrinks faster than it grows. Rows that somebody else is sweeping are passed over where the database can do
that.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import bindparam, select

from database import delete_batch
from models import db

BATCH = 4


def expired(model: Any, key: Any, batch: int = BATCH) -> Callable[[int], None]:
    """A function of `now` that deletes up to `batch` rows of `model` that have expired; `key` is its primary
    key. One statement where there are none."""
    chosen = select(key).where(model.expires_at <= bindparam("now")).order_by(model.expires_at)

    def sweep(now: int) -> None:
        delete_batch(db.session.connection(), chosen, {"now": now}, batch)

    return sweep
