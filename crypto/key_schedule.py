"""When a signing key signs, when it is published, and when the next one is due: told by the clock from the
rows alone.

Keys of one `alg` follow each other by generation. A key signs from its `active_from` until that of its
successor. The successor is announced one *announcement* earlier: by then every node has read it and every
cached JWKS that lacks it has expired. A key that has signed its last stays published until all it signed has
expired, and is known for longer, for the `id_token_hint` of a sign-out (RP-Initiated Logout §4). No node has
to do anything at a given moment, so no node has to coordinate.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple, Protocol, TypeVar

from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from crypto.json_values import JsonObject
from crypto.jwt import SIGNING

MAXIMUM_JWT_LIFETIME = timedelta(days=1)  # of anything that is signed for others to verify
READ_AGAIN = timedelta(seconds=30)  # how old what a node knows of the keys may be
CLOCK_SKEW = timedelta(seconds=30)  # between nodes
KNOWN_AFTER = timedelta(days=60)  # so long hints are verified: twice the life of a browser session
RSA_BITS = 2048

GENERATORS: dict[str, Callable[[], Key]] = {
    "RS256": lambda: RSAKey.generate_key(RSA_BITS),
    "ES256": lambda: ECKey.generate_key("P-256"),
    "EdDSA": lambda: OKPKey.generate_key("Ed25519"),
}
TYPES: dict[str, type[Key]] = {"RS256": RSAKey, "ES256": ECKey, "EdDSA": OKPKey}


class KeyRow(Protocol):
    """The columns that the rules rest on."""

    kid: str
    alg: str
    generation: int
    active_from: int


AnyKeyRow = TypeVar("AnyKeyRow", bound=KeyRow)


@dataclass(frozen=True)
class Schedule:
    """How long keys sign, and how long the JWKS may be cached."""

    signing: timedelta
    jwks_cache: timedelta

    @property
    def announcement(self) -> int:
        """Seconds from a key's first appearance to its first signature."""
        return int((self.jwks_cache + READ_AGAIN + CLOCK_SKEW).total_seconds())

    @property
    def farewell(self) -> int:
        """Seconds from a key's last signature to its leaving the JWKS."""
        return int((MAXIMUM_JWT_LIFETIME + CLOCK_SKEW).total_seconds())


def successor(row: KeyRow, rows: Iterable[AnyKeyRow]) -> AnyKeyRow | None:
    later = [other for other in rows if other.alg == row.alg and other.generation > row.generation]
    return min(later, key=lambda other: other.generation, default=None)


def state(row: KeyRow, rows: Sequence[KeyRow], now: int) -> str:
    """`announced`, `active` or `retired`."""
    if row.active_from > now:
        return "announced"
    following = successor(row, rows)
    return "retired" if following is not None and following.active_from <= now else "active"


def published_until(row: KeyRow, rows: Sequence[KeyRow], schedule: Schedule) -> int | None:
    """When the key leaves the JWKS; None while it has no successor."""
    following = successor(row, rows)
    return None if following is None else following.active_from + schedule.farewell


def is_published(row: KeyRow, rows: Sequence[KeyRow], now: int, schedule: Schedule) -> bool:
    until = published_until(row, rows, schedule)
    return until is None or now < until


def is_forgotten(row: KeyRow, rows: Sequence[KeyRow], now: int) -> bool:
    following = successor(row, rows)
    return following is not None and following.active_from + KNOWN_AFTER.total_seconds() <= now


def find_active(alg: str, rows: Iterable[AnyKeyRow], now: int) -> AnyKeyRow | None:
    started = [row for row in rows if row.alg == alg and row.active_from <= now]
    return max(started, key=lambda row: row.generation, default=None)


class Due(NamedTuple):
    """A key to make. active_from: seconds since the epoch."""

    alg: str
    generation: int
    active_from: int


def find_due(rows: Sequence[KeyRow], now: int, schedule: Schedule) -> list[Due]:
    """The keys to make now.

    The very first signs at once: nobody can have cached a JWKS. Any other comes an announcement before the
    one that signs has done its time; or, where no request came by at that moment, as soon as one does.
    """
    due = []
    for alg in SIGNING:
        newest = max((row for row in rows if row.alg == alg), key=lambda row: row.generation, default=None)
        if newest is None:
            due.append(Due(alg, 1, now))
        elif newest.active_from + schedule.signing.total_seconds() - schedule.announcement <= now:
            due.append(Due(alg, newest.generation + 1, now + schedule.announcement))
    return due


def generate(alg: str) -> tuple[str, JsonObject, bytes]:
    """A new key: `kid` (its thumbprint, RFC 7638), public JWK, and the private JWK as JSON."""
    key = GENERATORS[alg]()
    kid = key.thumbprint()
    public = {**key.as_dict(private=False), "kid": kid, "alg": alg, "use": "sig"}
    return kid, public, json.dumps(key.as_dict(private=True)).encode()


def read(alg: str, jwk: JsonObject) -> Key:
    """A key from its JWK, public or private. Costly for RSA (some 30 ms): what comes out is to be kept."""
    return TYPES[alg].import_key(jwk)
