"""`flask keys …`: the server's signing keys, and what is encrypted under the secret key.

Keys follow each other by themselves (`crypto/key_schedule.py`). These commands are for a change before its
time, for a key that has leaked, and for a new secret key; `docs/operating.md` says in which order.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import click

import store.clients
import store.signing_keys
from commands import sealed
from commands.formatting import counted, iso, table
from commands.output import CommandError, CommandGroup, Result
from crypto import key_schedule
from crypto.jwt import SIGNING
from crypto.key_schedule import DueKey
from protocol import clock
from services.current import keyring, settings
from store.signing_keys import SigningKeyRow
from store.user_sessions import KEPT_SECONDS as SESSION_SECONDS

DAY = 24 * 3600
COLUMNS = (
    *(
        "kid",
        "alg",
        "state",
        "created_at",
        "signs_from",
        "signs_until",
        "published_until",
        "last_presented_at",
    ),
)

keys = CommandGroup("keys", help="Signing keys, and what is encrypted under the secret key.")


# ---- list --------------------------------------------------------------------------------------------------


@keys.command("list")
def list_() -> Result:
    """List the signing keys, by algorithm and age."""
    rows = store.signing_keys.all_keys()
    known = [public_members(row, rows) for row in rows]
    hint = () if known else ("There is none yet: the first are made when they are needed.",)
    return Result(known, table(known, COLUMNS), hint)


def public_members(row: SigningKeyRow, rows: Sequence[SigningKeyRow]) -> dict[str, Any]:
    following = key_schedule.find_successor(row, rows)
    return {
        "kid": row.kid,
        "alg": row.alg,
        "state": key_schedule.state(row, rows, clock.now()),
        "created_at": row.created_at,
        "signs_from": row.active_from,
        "signs_until": None if following is None else following.active_from,
        "published_until": key_schedule.published_until(row, rows, keyring.schedule),
        "last_presented_at": row.last_presented_at,
    }


# ---- rotate ------------------------------------------------------------------------------------------------


@keys.command("rotate")
@click.option("--alg", type=click.Choice(SIGNING), help="Of this algorithm alone.")
def rotate(alg: str | None) -> Result:
    """Publish the next keys now. They sign when every cached JWKS has them."""
    announced = [announce(each) for each in SIGNING if alg in (None, each)]
    return Result(
        [members for members, _text in announced], messages=tuple(text for _members, text in announced)
    )


def announce(alg: str) -> tuple[dict[str, Any], str]:
    """Of two commands at once the second violates the unique key, is run again, and finds what the first
    announced.
    """
    now = clock.now()
    rows = [row for row in store.signing_keys.all_keys() if row.alg == alg]
    newest = rows[-1] if rows else None
    if newest is not None and newest.active_from > now:
        text = f"{alg}: {newest.kid} is announced already, and signs from {iso(newest.active_from)} on."
        return {"alg": alg, "kid": newest.kid, "signs_from": newest.active_from, "is_new": False}, text
    signs_from = now + keyring.schedule.publication_lead if newest else now
    [made] = keyring.make([DueKey(alg, newest.generation + 1 if newest else 1, signs_from)])
    text = f"{alg}: {made.kid} is announced, and signs from {iso(signs_from)} on."
    return {"alg": alg, "kid": made.kid, "signs_from": signs_from, "is_new": True}, text


# ---- retire ------------------------------------------------------------------------------------------------


@keys.command("retire", context_settings={"ignore_unknown_options": True})  # one kid in 64 begins with a dash
@click.argument("kid")
@click.option("--force", is_flag=True, help="Also where something depends on it.")
def retire(kid: str, force: bool) -> Result:
    """Remove a key at once: what it signed is refused from now on.

    For an orderly change use `flask keys rotate`.
    """
    rows = store.signing_keys.all_keys()
    row = next((row for row in rows if row.kid == kid), None)
    if row is None:
        raise CommandError(f"there is no signing key {kid!r}")
    if not force and (reasons := list(reasons_against(row, rows))):
        raise CommandError(f"{kid} is in use: {', and '.join(reasons)}. If it has leaked, use --force")
    following = replace(row, rows) if key_schedule.state(row, rows, clock.now()) == "active" else None
    store.signing_keys.remove([kid])
    cached = int(settings.jwks_cache_lifetime.total_seconds())
    known = int(key_schedule.REREAD_INTERVAL.total_seconds())
    messages = [
        f"Took out {kid}. Every node knows it within {counted(known, 'second')}.",
        f"Copies of the JWKS that others have cached still hold it for up to {counted(cached, 'second')}.",
    ]
    if following is not None:
        messages.append(
            f"{following} signs from now on; those copies may lack it for as long: sign-ins may fail"
            " meanwhile."
        )
    return Result({"kid": kid, "alg": row.alg, "successor": following}, messages=tuple(messages))


def reasons_against(row: SigningKeyRow, rows: Sequence[SigningKeyRow]) -> Iterator[str]:
    now = clock.now()
    state = key_schedule.state(row, rows, now)
    until = key_schedule.published_until(row, rows, keyring.schedule)
    if state == "active":
        yield f"it is the one that signs {row.alg} now"
    if state == "retired" and until is not None and now < until:
        yield f"what it signed may be alive until {iso(until)}"
    if row.last_presented_at is not None and now - row.last_presented_at < DAY:
        shown_at = iso(row.last_presented_at)
        yield (
            f"something that it signed was shown to this server at {shown_at}: resource servers"
            " still ask for it"
        )


def replace(row: SigningKeyRow, rows: Sequence[SigningKeyRow]) -> str:
    """The `kid` that signs in place of the active key from now on: the announced one, or one that is made."""
    following = key_schedule.find_successor(row, rows)
    if following is None:
        [made] = keyring.make([DueKey(row.alg, row.generation + 1, clock.now())])
        return str(made.kid)
    store.signing_keys.set_active_from(following.kid, clock.now())
    return str(following.kid)


# ---- rewrap ------------------------------------------------------------------------------------------------


@keys.command("rewrap")
def rewrap() -> Result:
    """Encrypt again, under the current secret key, what is encrypted under an old one."""
    sealed.lock_clients()
    boxes = list(sealed.all_encrypted_values())
    old = [box for box in boxes if box.state == "old"]
    unreadable = [box for box in boxes if box.state == "unreadable"]
    for box in old:
        box.seal_anew()
    messages = [f"Encrypted again: {sealed.in_words(old) or 'nothing'}."]
    if unreadable:
        messages.append(f"Warning: {sealed.unreadable_in_words(unreadable)}")
    elif settings.old_secret_keys:
        messages.append(what_old_keys_are_for())
    return Result({"sealed_anew": len(old), "unreadable": len(unreadable)}, messages=tuple(messages))


def what_old_keys_are_for() -> str:
    """Cookies and refresh tokens carry a signature under the secret key of their time."""
    clients = [client for client in store.clients.all_by_name() if "refresh_token" in client.grant_types]
    lives = {
        client.client_id: client.lifetime(client.refresh_token_lifetime, settings.refresh_token_lifetime)
        for client in clients
    }
    days = -(-max([SESSION_SECONDS, *(life for life in lives.values() if life is not None)]) // DAY)
    text = (
        f"The old key may leave OSTIARY_OLD_SECRET_KEYS {counted(days, 'day')} after the change:"
        " until then it knows sessions"
    )
    text += " and refresh tokens. Whoever still has one of these afterwards signs in again."
    endless = [client_id for client_id, life in lives.items() if life is None]
    return f"{text} Refresh tokens without an end: {', '.join(endless)}." if endless else text
