"""The server's signing keys: read from the database and parsed, made and deleted when due.

A process parses each key once, and reads the rows again every half minute.
Enters: rows of `signing_key`. Leaves: the key that signs for an `alg` now, the public keys for the JWKS, and
the keys that our own tokens are verified with. `crypto/key_schedule.py` decides which is which by the clock;
no node waits for another.
"""

import json
import logging
import time
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from flask import g
from joserfc.jwk import Key

import errors
import store.signing_keys
from config import Settings
from crypto import jwt, key_schedule
from crypto.encryption import Cipher
from crypto.json_values import JsonObject
from crypto.key_schedule import REREAD_INTERVAL, DueKey, Schedule
from protocol import clock
from store.signing_keys import SigningKeyRow

log = logging.getLogger("ostiary.keyring")

HOUR = 3600
RETRY_SECONDS = 5.0  # between two tries to read the keys while the database is away


class KeySnapshot(NamedTuple):
    """The keys at one moment; when that was, and when to read them again (seconds of the monotonic clock)."""

    rows: list[SigningKeyRow]
    read_at: float
    read_again_at: float


class Keyring:
    """The signing keys of one app. Threads share it: a snapshot is replaced as a whole, never changed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.issuer = settings.issuer
        self.schedule = Schedule(settings.signing_key_lifetime, settings.jwks_cache_lifetime)
        self._snapshot: KeySnapshot | None = None
        self._parsed: dict[tuple[str, bool], Key] = {}  # by `kid`, and whether it is the private key
        self._noted_at: dict[str, float] = {}  # by `kid`: when a use was noted, on the monotonic clock

    @cached_property
    def cipher(self) -> Cipher:
        """Return what encrypts the private keys."""
        return self._cipher("signing keys")

    @cached_property
    def client_secrets(self) -> Cipher:
        """Return what encrypts the secrets of clients that authenticate by `client_secret_jwt`."""
        return self._cipher("client secrets")

    def _cipher(self, purpose: str) -> Cipher:
        keys = (self.settings.secret_key, *self.settings.old_secret_keys)
        return Cipher([key.get_secret_value() for key in keys], purpose)

    # ---- sign, publish, verify -----------------------------------------------------------------------------

    def sign(self, claims: JsonObject, alg: str, typ: str = "JWT") -> str:
        """Return a token signed by the key that is active for `alg`."""
        now, rows = clock.now(), self.rows()
        # A key that has left the JWKS must not sign, even if it can be decrypted: nobody could verify it.
        published = [
            row for row in rows if row.alg == alg and key_schedule.is_published(row, rows, now, self.schedule)
        ]
        usable = [row for row in published if self._private(row) is not None]
        row = key_schedule.find_active(alg, usable, now) or self._replace_unreadable(alg)
        key = self._private(row)
        assert key is not None  # noqa: S101 - only such keys are in `usable`
        return jwt.encode(claims, key, alg, row.kid, typ)

    def jwks(self) -> JsonObject:
        """Return the JWK Set (RFC 7517 §5): keys that sign now or soon, or whose tokens may be valid."""
        return self._published(self.rows())

    def remembered_jwks(self) -> JsonObject | None:
        """Return the JWK Set without asking the database; None where this process has no recent one."""
        snapshot = self._snapshot
        return None if snapshot is None or not self.seconds_to_keep() else self._published(snapshot.rows)

    def seconds_to_keep(self) -> int:
        """Return for how many seconds others may cache the JWKS.

        They are fewer than usual while this process cannot read the keys again.
        """
        snapshot = self._snapshot
        age = 0.0 if snapshot is None else time.monotonic() - snapshot.read_at
        overdue = max(age - REREAD_INTERVAL.total_seconds(), 0)
        return max(int(self.schedule.jwks_cache.total_seconds() - overdue), 0)

    def _published(self, rows: list[SigningKeyRow]) -> JsonObject:
        now = clock.now()
        published = [row for row in rows if key_schedule.is_published(row, rows, now, self.schedule)]
        return {"keys": [row.public_jwk for row in published]}

    def read_own(self, token: str, typ: set[str | None]) -> JsonObject:
        """Return the claims of a token that this server signed. Raises InvalidJwtError.

        The caller checks `aud` and the times.
        """
        rows = self.known_rows()  # verifying a token of unknown origin must not make new keys
        claims = jwt.decode(token, [(row.kid, self._public(row)) for row in rows], jwt.SIGNING, typ)
        if claims.get("iss") != self.issuer:
            raise errors.InvalidJwtError("another issuer's")
        self.note_presentation(token)
        return claims

    def note_presentation(self, token: str) -> None:
        """Store that a token which one of our keys signed is in use, once an hour for each key.

        `flask keys retire` warns before it removes a key that is in use.
        """
        try:
            kid = str(jwt.read_header(token).get("kid"))
        except errors.InvalidJwtError:
            return
        now = time.monotonic()
        if now - self._noted_at.get(kid, -HOUR) < HOUR or kid not in {row.kid for row in self.known_rows()}:
            return
        self._noted_at[kid] = now
        store.signing_keys.note_presentation(kid, clock.now())

    # ---- rows, read and made -------------------------------------------------------------------------------

    def known_rows(self) -> list[SigningKeyRow]:
        """Return the keys that exist; makes none."""
        if (changed := self._changed()) is not None:
            return changed
        snapshot, now = self._snapshot, time.monotonic()
        if snapshot is None or now >= snapshot.read_again_at:
            # other threads use the old snapshot meanwhile, because the database may be away
            if snapshot is not None and self.seconds_to_keep():
                self._snapshot = snapshot._replace(read_again_at=now + RETRY_SECONDS)
            rows = store.signing_keys.all_keys()
            snapshot = self._snapshot = KeySnapshot(rows, now, now + REREAD_INTERVAL.total_seconds())
            self._forget_all_but({row.kid for row in snapshot.rows})
        return snapshot.rows

    def _forget_all_but(self, kids: set[str]) -> None:
        """Drop what is cached of keys that are gone. Other threads may add to the caches meanwhile."""
        for parsed in [parsed for parsed in list(self._parsed) if parsed[0] not in kids]:
            self._parsed.pop(parsed, None)
        for kid in [kid for kid in list(self._noted_at) if kid not in kids]:
            self._noted_at.pop(kid, None)

    def rows(self) -> list[SigningKeyRow]:
        """Return all keys, after deleting those that are expired or else making those that are due.

        Either takes one statement more. This request sees the change at once, others when it is committed.
        """
        known, now = self.known_rows(), clock.now()
        if self._changed() is not None:
            return known
        expired = {row.kid for row in known if key_schedule.is_expired(row, known, now)}
        if expired:
            store.signing_keys.remove(expired)
            return self._keep([row for row in known if row.kid not in expired])
        if due := key_schedule.find_due(known, now, self.schedule):
            return self._keep([*known, *self.make(due)])
        return known

    def _keep(self, rows: list[SigningKeyRow]) -> list[SigningKeyRow]:
        """Keep the keys for this request alone, because it may still be rolled back."""
        self._snapshot = None
        kept = sorted(rows, key=lambda row: (row.alg, row.generation))
        g.signing_keys = g.get("signing_keys", {}) | {self: kept}
        return kept

    def _changed(self) -> list[SigningKeyRow] | None:
        """Return the keys as this request or command has changed them, or None."""
        found: dict[Keyring, list[SigningKeyRow]] = g.get("signing_keys", {})
        return found.get(self)

    def make(self, due: Sequence[DueKey]) -> list[SigningKeyRow]:
        """Store new keys, and return their rows."""
        self._snapshot = None  # if another node was faster, the next try has to see its keys
        made = store.signing_keys.add([self._generate(key) for key in due])
        for row in made:
            log.info("made a signing key: alg=%s kid=%s", row.alg, row.kid)
        return made

    def _generate(self, due: DueKey) -> dict[str, object]:
        kid, public_jwk, private_key = key_schedule.generate(due.alg)
        return due._asdict() | {
            "kid": kid,
            "public_jwk": public_jwk,
            "sealed_private_key": self.cipher.encrypt(private_key, kid),
            "created_at": clock.now(),
        }

    def _replace_unreadable(self, alg: str) -> SigningKeyRow:
        """Make another key, because no secret key that is set can decrypt the present one."""
        log.error(
            "no private signing key can be decrypted with OSTIARY_SECRET_KEY or OSTIARY_OLD_SECRET_KEYS: made"
            " another, alg=%s",
            alg,
        )
        rows = self.rows()
        newest = max(row.generation for row in rows if row.alg == alg)
        [made] = self.make([DueKey(alg, newest + 1, clock.now())])
        self._keep([*rows, made])
        return made

    # ---- parsed once ---------------------------------------------------------------------------------------

    def _public(self, row: SigningKeyRow) -> Key:
        cached = self._parsed.get((row.kid, False))
        if cached is None:
            cached = self._parsed[row.kid, False] = key_schedule.import_key(row.alg, row.public_jwk)
        return cached

    def _private(self, row: SigningKeyRow) -> Key | None:
        """Return the private key, or None where no secret key that is set can decrypt it."""
        cached = self._parsed.get((row.kid, True))
        if cached is None:
            private_key = self.cipher.decrypt(row.sealed_private_key, row.kid)
            if private_key is None:
                return None
            cached = self._parsed[row.kid, True] = key_schedule.import_key(row.alg, json.loads(private_key))
        return cached
