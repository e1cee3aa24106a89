"""The server's signing keys, as this process knows them: parsed once, read again every half minute, made when
they are due.

Enters: rows of `signing_key`. Leaves: the key that signs for an `alg` now, the public keys for the JWKS, and
those that a token of ours is verified with. Which is which is decided in `crypto/key_schedule.py` by the
clock; no node waits for another.
"""

import json
import logging
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from flask import g
from joserfc.jwk import Key
from sqlalchemy import Row

import errors
import store.signing_keys
from config import Settings
from crypto import jwt, key_schedule
from crypto.encryption import Cipher
from crypto.key_schedule import READ_AGAIN, Due, Schedule
from protocol import clock

log = logging.getLogger("ostiary.keyring")

HOUR = 3600
PATIENCE_SECONDS = 5.0


class KeySnapshot(NamedTuple):
    """The keys at one moment; when that was on this process's own clock, and when to look again."""

    rows: list[Row[Any]]
    read_at: float
    read_again_at: float


class Keyring:
    """One for each app. Threads share it: what it holds is replaced as a whole, never changed."""

    def __init__(self, settings: Settings) -> None:
        secret_keys = [key.get_secret_value() for key in (settings.secret_key, *settings.old_secret_keys)]
        self.vault = Cipher(secret_keys, "signing keys")
        self.client_secrets = Cipher(secret_keys, "client secrets")  # of clients that sign with theirs
        self.issuer = settings.issuer
        self.schedule = Schedule(settings.signing_key_lifetime, settings.jwks_cache_lifetime)
        self._ring: KeySnapshot | None = None
        self._parsed: dict[tuple[str, bool], Key] = {}
        self._noted_at: dict[str, float] = {}  # by `kid`, on this process's own clock

    # ---- what is asked of it -------------------------------------------------------------------------------

    def sign(self, claims: dict[str, Any], alg: str, typ: str = "JWT") -> str:
        """A token signed by the key that is active for `alg`."""
        now, rows = clock.now(), self.rows()
        # One that has left the JWKS is of no use, though it opens: nobody would find it there.
        published = [
            row for row in rows if row.alg == alg and key_schedule.is_published(row, rows, now, self.schedule)
        ]
        usable = [row for row in published if self._private(row) is not None]
        row = key_schedule.find_active(alg, usable, now) or self._replace_unreadable(alg)
        key = self._private(row)
        assert key is not None  # noqa: S101 - that is how it was chosen
        return jwt.encode(claims, key, alg, row.kid, typ)

    def jwks(self) -> dict[str, Any]:
        """RFC 7517 §5: the public keys that may sign, will sign soon, or have signed what is still alive."""
        return self._published(self.rows())

    def remembered_jwks(self) -> dict[str, Any] | None:
        """The same without the database; None where nothing is known, or nobody may keep that any more."""
        ring = self._ring
        return None if ring is None or not self.seconds_to_keep() else self._published(ring.rows)

    def seconds_to_keep(self) -> int:
        """How long others may keep the JWKS: less than usual where this process has not been able to read it
        again.
        """
        ring = self._ring
        age = 0.0 if ring is None else time.monotonic() - ring.read_at
        overdue = max(age - READ_AGAIN.total_seconds(), 0)
        return max(int(self.schedule.jwks_cache.total_seconds() - overdue), 0)

    def _published(self, rows: list[Row[Any]]) -> dict[str, Any]:
        now = clock.now()
        published = [row for row in rows if key_schedule.is_published(row, rows, now, self.schedule)]
        return {"keys": [row.public_jwk for row in published]}

    def read_own(self, token: str, typ: set[str | None]) -> dict[str, Any]:
        """The claims of a token that this server signed, whatever it was for: see to `aud` and times.

        Raises InvalidJwtError.
        """
        rows = self.known_rows()  # to look at a stranger's token makes no keys
        claims = jwt.decode(token, [(row.kid, self._public(row)) for row in rows], jwt.SIGNING, typ)
        if claims.get("iss") != self.issuer:
            raise errors.InvalidJwtError("another issuer's")
        self.note_presentation(token)
        return claims

    def note_presentation(self, token: str) -> None:
        """Somebody goes by a token that one of our keys signed: noted once an hour, because such a key would
        be missed.
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

    def known_rows(self) -> list[Row[Any]]:
        """The keys that there are, whether or not others are due."""
        if "signing_keys" in g:
            made: list[Row[Any]] = g.signing_keys
            return made
        ring, now = self._ring, time.monotonic()
        if ring is None or now >= ring.read_again_at:
            # others go on with it meanwhile: the database may be away
            if ring is not None and self.seconds_to_keep():
                self._ring = ring._replace(read_again_at=now + PATIENCE_SECONDS)
            ring = self._ring = KeySnapshot(
                store.signing_keys.all_keys(), now, now + READ_AGAIN.total_seconds()
            )
            self._forget_all_but({row.kid for row in ring.rows})
        return ring.rows

    def _forget_all_but(self, kids: set[str]) -> None:
        """What is remembered of each key would add up in a process that outlives them.

        Threads may be adding to it meanwhile.
        """
        for parsed in [parsed for parsed in list(self._parsed) if parsed[0] not in kids]:
            self._parsed.pop(parsed, None)
        for kid in [kid for kid in list(self._noted_at) if kid not in kids]:
            self._noted_at.pop(kid, None)

    def rows(self) -> list[Row[Any]]:
        """All keys. Removes those that nobody needs, or else makes those that are due: one statement more for
        either.

        What changed counts for this request, and for others once it is committed.
        """
        known, now = self.known_rows(), clock.now()
        if "signing_keys" in g:
            return known
        forgotten = {row.kid for row in known if key_schedule.is_forgotten(row, known, now)}
        if forgotten:
            store.signing_keys.remove(forgotten)
            return self._keep([row for row in known if row.kid not in forgotten])
        if due := key_schedule.find_due(known, now, self.schedule):
            return self._keep([*known, *self.make(due)])
        return known

    def _keep(self, rows: list[Row[Any]]) -> list[Row[Any]]:
        """For this request alone: it may yet be undone."""
        self._ring = None
        g.signing_keys = sorted(rows, key=lambda row: (row.alg, row.generation))
        kept: list[Row[Any]] = g.signing_keys
        return kept

    def make(self, due: Sequence[Due]) -> list[Row[Any]]:
        """Store new keys, and return their rows."""
        self._ring = None  # should another node be faster, the next try must see its keys
        made = store.signing_keys.add([self._generate(key) for key in due])
        for row in made:
            log.info("made a signing key: alg=%s kid=%s", row.alg, row.kid)
        return made

    def _generate(self, due: Due) -> dict[str, Any]:
        kid, public_jwk, private_key = key_schedule.generate(due.alg)
        return due._asdict() | {
            "kid": kid,
            "public_jwk": public_jwk,
            "sealed_private_key": self.vault.seal(private_key, kid),
            "created_at": clock.now(),
        }

    def _replace_unreadable(self, alg: str) -> Row[Any]:
        """No key opens: the secret key is another one, and the one before is not among the old ones.

        Begin anew.
        """
        log.error(
            "no private signing key opens under OSTIARY_SECRET_KEY or OSTIARY_OLD_SECRET_KEYS: made"
            " another, alg=%s",
            alg,
        )
        rows = self.rows()
        newest = max(row.generation for row in rows if row.alg == alg)
        [made] = self.make([Due(alg, newest + 1, clock.now())])
        self._keep([*rows, made])
        return made

    # ---- parsed once ---------------------------------------------------------------------------------------

    def _public(self, row: Row[Any]) -> Key:
        cached = self._parsed.get((row.kid, False))
        if cached is None:
            cached = self._parsed[row.kid, False] = key_schedule.read(row.alg, row.public_jwk)
        return cached

    def _private(self, row: Row[Any]) -> Key | None:
        """None where the secret key that it was sealed under is not known here."""
        cached = self._parsed.get((row.kid, True))
        if cached is None:
            opened = self.vault.open(row.sealed_private_key, row.kid)
            if opened is None:
                return None
            cached = self._parsed[row.kid, True] = key_schedule.read(row.alg, json.loads(opened))
        return cached
