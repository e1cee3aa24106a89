"""Signing keys: all of them at once, there are few."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, bindparam, delete, insert, or_, select, update

from models import SigningKey, db, table

keys = table(SigningKey)

ALL = select(keys).order_by(keys.c.alg, keys.c.generation)
NOTE_PRESENTATION = (
    update(keys)
    .where(
        keys.c.kid == bindparam("of_kid"),
        or_(keys.c.last_presented_at.is_(None), keys.c.last_presented_at <= bindparam("an_hour_ago")),
    )
    .values(last_presented_at=bindparam("now"))
)


def all_keys() -> list[Row[Any]]:
    """Oldest first for each alg. One SELECT."""
    return list(db.session.execute(ALL))


def add(new: Sequence[Mapping[str, Any]]) -> list[Row[Any]]:
    """Store keys, in one INSERT.

    Of two nodes that make the same generation one violates the unique key, and asks again.
    """
    return list(db.session.execute(insert(keys).returning(keys), new))


def set_active_from(kid: str, active_from: int) -> None:
    db.session.execute(update(keys).where(keys.c.kid == kid).values(active_from=active_from))


def set_sealed_private_key(kid: str, sealed_private_key: bytes) -> None:
    db.session.execute(update(keys).where(keys.c.kid == kid).values(sealed_private_key=sealed_private_key))


def note_presentation(kid: str, now: int) -> None:
    """Something that this key signed was shown to us; noted once an hour."""
    db.session.execute(NOTE_PRESENTATION, {"of_kid": kid, "now": now, "an_hour_ago": now - 3600})


def remove(kids: Collection[str]) -> None:
    db.session.execute(delete(keys).where(keys.c.kid.in_(kids)))
