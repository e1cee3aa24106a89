"""Signing keys: they are always read all at once, there are few."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, delete, insert, or_, select, update

from crypto.json_values import JsonObject
from database.tables import table
from database.tenancy import own
from models import SigningKey, db
from store.rows import columns, fetch_all

keys = table(SigningKey)


class SigningKeyRow(NamedTuple):
    """A signing key; the private key is encrypted under the server's secret key."""

    kid: str
    alg: str
    generation: int
    public_jwk: JsonObject
    sealed_private_key: bytes
    created_at: int
    active_from: int
    last_presented_at: int | None


ALL = select(*columns(SigningKeyRow, keys)).where(own(keys)).order_by(keys.c.alg, keys.c.generation)
NOTE_PRESENTATION = (
    update(keys)
    .where(
        own(keys),
        keys.c.kid == bindparam("of_kid"),
        or_(keys.c.last_presented_at.is_(None), keys.c.last_presented_at <= bindparam("an_hour_ago")),
    )
    .values(last_presented_at=bindparam("now"))
)


def all_keys() -> list[SigningKeyRow]:
    """Return all keys, by `alg` and oldest first. One SELECT."""
    return fetch_all(SigningKeyRow, ALL)


def add(new: Sequence[Mapping[str, object]]) -> list[SigningKeyRow]:
    """Store keys in one INSERT, and return their rows. The unique key stops a second node that does it."""
    stored = insert(keys).returning(*columns(SigningKeyRow, keys))
    return [SigningKeyRow(*row) for row in db.session.execute(stored, new)]


def set_active_from(kid: str, active_from: int) -> None:
    """Set when a key begins to sign."""
    db.session.execute(update(keys).where(own(keys), keys.c.kid == kid).values(active_from=active_from))


def set_sealed_private_key(kid: str, sealed_private_key: bytes) -> None:
    """Replace the encrypted private key of a key."""
    db.session.execute(
        update(keys).where(own(keys), keys.c.kid == kid).values(sealed_private_key=sealed_private_key)
    )


def note_presentation(kid: str, now: int) -> None:
    """Record, once an hour, that a token which this key signed was presented to this server."""
    db.session.execute(NOTE_PRESENTATION, {"of_kid": kid, "now": now, "an_hour_ago": now - 3600})


def remove(kids: Collection[str]) -> None:
    """Delete keys."""
    db.session.execute(delete(keys).where(own(keys), keys.c.kid.in_(kids)))
