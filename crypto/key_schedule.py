"""The schedule of signing keys: when a key signs, when it is published, and when the next one is made.

Enters: the rows of `signing_key` and the time. Keys of one `alg` follow each other by generation. A key signs
from its `active_from` until that of its successor. The successor is published some time before it signs (the
publication lead): by then every node has read it, and every cached JWKS that lacks it has expired. A key that
signs no more stays published until all that it signed has expired. It is kept for longer, for the
`id_token_hint` of a sign-out (RP-Initiated Logout §4). All of it follows from the rows and the clock, so no
node has to coordinate with another.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import NamedTuple, Protocol, TypeVar

from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from crypto.json_values import JsonObject
from crypto.jwt import SIGNING

MAXIMUM_JWT_LIFETIME = timedelta(days=1)  # of every token that others verify
REREAD_INTERVAL = timedelta(seconds=30)  # how old a node's copy of the keys may be
CLOCK_SKEW = timedelta(seconds=30)  # between nodes
RETENTION = timedelta(days=60)  # how long a retired key verifies hints: twice the life of a browser session
RSA_BITS = 2048

GENERATORS: dict[str, Callable[[], Key]] = {
    "RS256": lambda: RSAKey.generate_key(RSA_BITS),
    "ES256": lambda: ECKey.generate_key("P-256"),
    "EdDSA": lambda: OKPKey.generate_key("Ed25519"),
}
TYPES: dict[str, type[Key]] = {"RS256": RSAKey, "ES256": ECKey, "EdDSA": OKPKey}


class KeyRow(Protocol):
    """The columns of a signing key that the schedule is computed from."""

    @property
    def alg(self) -> str: ...

    @property
    def generation(self) -> int: ...

    @property
    def active_from(self) -> int: ...


AnyKeyRow = TypeVar("AnyKeyRow", bound=KeyRow)


@dataclass(frozen=True)
class Schedule:
    """How long keys sign, and how long others may cache the JWKS."""

    signing: timedelta
    jwks_cache: timedelta

    @cached_property
    def publication_lead(self) -> int:
        """Return the seconds from a key's publication to its first signature."""
        return int((self.jwks_cache + REREAD_INTERVAL + CLOCK_SKEW).total_seconds())

    @cached_property
    def retirement(self) -> int:
        """Return the seconds from a key's last signature to its removal from the JWKS."""
        return int((MAXIMUM_JWT_LIFETIME + CLOCK_SKEW).total_seconds())


def find_successor(row: KeyRow, rows: Iterable[AnyKeyRow]) -> AnyKeyRow | None:
    """Return the next key of the same `alg`, or None."""
    later = [other for other in rows if other.alg == row.alg and other.generation > row.generation]
    return min(later, key=lambda other: other.generation, default=None)


def state(row: KeyRow, rows: Sequence[KeyRow], now: int) -> str:
    """Return `announced` (published, not yet in use), `active` or `retired`."""
    if row.active_from > now:
        return "announced"
    successor = find_successor(row, rows)
    return "retired" if successor is not None and successor.active_from <= now else "active"


def published_until(row: KeyRow, rows: Sequence[KeyRow], schedule: Schedule) -> int | None:
    """Return when the key leaves the JWKS, in epoch seconds; None while it has no successor."""
    successor = find_successor(row, rows)
    return None if successor is None else successor.active_from + schedule.retirement


def is_published(row: KeyRow, rows: Sequence[KeyRow], now: int, schedule: Schedule) -> bool:
    """Return whether the key belongs into the JWKS now."""
    until = published_until(row, rows, schedule)
    return until is None or now < until


def is_expired(row: KeyRow, rows: Sequence[KeyRow], now: int) -> bool:
    """Return whether the key's row can be deleted: it verifies nothing any more."""
    successor = find_successor(row, rows)
    return successor is not None and successor.active_from + RETENTION.total_seconds() <= now


def find_active(alg: str, rows: Iterable[AnyKeyRow], now: int) -> AnyKeyRow | None:
    """Return the key that signs for an `alg` now, or None where there is none yet."""
    started = [row for row in rows if row.alg == alg and row.active_from <= now]
    return max(started, key=lambda row: row.generation, default=None)


class DueKey(NamedTuple):
    """A key that is to be made. active_from: epoch seconds."""

    alg: str
    generation: int
    active_from: int


def find_due(rows: Sequence[KeyRow], now: int, schedule: Schedule) -> list[DueKey]:
    """Return the keys to make now.

    The very first one signs at once: nobody can have cached a JWKS before it. Every other one is made a
    publication lead before the key in use has signed for its time, or with the first request after that.
    """
    due = []
    for alg in SIGNING:
        newest = max((row for row in rows if row.alg == alg), key=lambda row: row.generation, default=None)
        if newest is None:
            due.append(DueKey(alg, 1, now))
        elif newest.active_from + schedule.signing.total_seconds() - schedule.publication_lead <= now:
            due.append(DueKey(alg, newest.generation + 1, now + schedule.publication_lead))
    return due


def generate(alg: str) -> tuple[str, JsonObject, bytes]:
    """Return a new key: its `kid` (the thumbprint, RFC 7638), the public JWK, and the private JWK as JSON."""
    key = GENERATORS[alg]()
    kid = key.thumbprint()
    public = {**key.as_dict(private=False), "kid": kid, "alg": alg, "use": "sig"}
    return kid, public, json.dumps(key.as_dict(private=True)).encode()


def import_key(alg: str, jwk: JsonObject) -> Key:
    """Return the key of a JWK, public or private. Takes some 30 ms for RSA: keep what it returns."""
    return TYPES[alg].import_key(jwk)
