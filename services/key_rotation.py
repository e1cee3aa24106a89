"""Rotate and retire signing keys before their time, and know for how long an old secret key is needed.

Keys follow each other by themselves (`crypto/key_schedule.py`); this is for operators.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import store.clients
import store.signing_keys
from crypto import key_schedule
from crypto.key_schedule import DueKey
from errors import ConflictError, NotFoundError, Problem
from protocol import clock
from services.current import keyring, settings
from services.problems import Code, problem
from store.signing_keys import SigningKeyRow
from store.user_sessions import KEPT_SECONDS as SESSION_SECONDS

DAY = 24 * 3600


class KeyInfo(NamedTuple):
    """What may be shown of a signing key: everything but the key."""

    kid: str
    alg: str
    state: str
    created_at: int
    signs_from: int
    signs_until: int | None
    published_until: int | None
    last_presented_at: int | None


class NextKey(NamedTuple):
    """The key that signs next for an algorithm. is_new: whether it was made just now."""

    alg: str
    kid: str
    signs_from: int
    is_new: bool


class RetiredKey(NamedTuple):
    """A key that was removed. successor: the `kid` that signs in place of an active one from now on."""

    kid: str
    alg: str
    successor: str | None


class OldKeyUse(NamedTuple):
    """For how long cookies and refresh tokens need an old secret key; their signature is of their time."""

    days: int
    endless_client_ids: list[str]  # of clients whose refresh tokens do not expire


def list_keys() -> list[KeyInfo]:
    """Return the signing keys, by algorithm and age."""
    rows = store.signing_keys.all_keys()
    return [describe(row, rows) for row in rows]


def describe(row: SigningKeyRow, rows: Sequence[SigningKeyRow]) -> KeyInfo:
    """Return what may be shown of a key among all `rows`."""
    successor = key_schedule.find_successor(row, rows)
    return KeyInfo(
        row.kid,
        row.alg,
        key_schedule.state(row, rows, clock.now()),
        row.created_at,
        row.active_from,
        None if successor is None else successor.active_from,
        key_schedule.published_until(row, rows, keyring.schedule),
        row.last_presented_at,
    )


def publish_next(alg: str) -> NextKey:
    """Return the key that signs next for an algorithm, made now where there was none.

    Of two callers at once the second violates the unique key, is run again, and finds what the first made.
    """
    now = clock.now()
    rows = [row for row in store.signing_keys.all_keys() if row.alg == alg]
    newest = rows[-1] if rows else None
    if newest is not None and newest.active_from > now:
        return NextKey(alg, newest.kid, newest.active_from, False)
    signs_from = now + keyring.schedule.publication_lead if newest else now
    [made] = keyring.make([DueKey(alg, newest.generation + 1 if newest else 1, signs_from)])
    return NextKey(alg, made.kid, signs_from, True)


def retire(kid: str, *, force: bool) -> RetiredKey:
    """Remove a key at once: what it signed is refused from now on.

    Raise NotFoundError, or ConflictError with what depends on the key, unless that is forced.
    """
    rows = store.signing_keys.all_keys()
    row = next((row for row in rows if row.kid == kid), None)
    if row is None:
        raise NotFoundError([problem(Code.UNKNOWN_SIGNING_KEY, kid=kid)])
    if not force and (reasons := list(find_uses(row, rows))):
        raise ConflictError(reasons)
    successor = replace(row, rows) if key_schedule.state(row, rows, clock.now()) == "active" else None
    store.signing_keys.remove([kid])
    return RetiredKey(kid, row.alg, successor)


def find_uses(row: SigningKeyRow, rows: Sequence[SigningKeyRow]) -> Iterator[Problem]:
    """Return what depends on a key."""
    now = clock.now()
    state = key_schedule.state(row, rows, now)
    until = key_schedule.published_until(row, rows, keyring.schedule)
    if state == "active":
        yield problem(Code.KEY_SIGNS_NOW, alg=row.alg)
    if state == "retired" and until is not None and now < until:
        yield problem(Code.KEY_HAS_LIVE_TOKENS, expires_at=until)
    if row.last_presented_at is not None and now - row.last_presented_at < DAY:
        yield problem(Code.KEY_PRESENTED_LATELY, presented_at=row.last_presented_at)


def replace(row: SigningKeyRow, rows: Sequence[SigningKeyRow]) -> str:
    """Let the next key sign from now on in place of the active one, and return its `kid`."""
    successor = key_schedule.find_successor(row, rows)
    if successor is None:
        [made] = keyring.make([DueKey(row.alg, row.generation + 1, clock.now())])
        return made.kid
    store.signing_keys.set_active_from(successor.kid, clock.now())
    return successor.kid


def old_secret_key_use() -> OldKeyUse:
    """Return for how long an old secret key is needed after a change."""
    lifetimes = {
        client.client_id: client.lifetime(client.refresh_token_lifetime, settings.refresh_token_lifetime)
        for client in store.clients.all_by_name()
        if "refresh_token" in client.grant_types
    }
    seconds = max([SESSION_SECONDS, *(lifetime for lifetime in lifetimes.values() if lifetime is not None)])
    endless = [client_id for client_id, lifetime in lifetimes.items() if lifetime is None]
    return OldKeyUse(-(-seconds // DAY), endless)
