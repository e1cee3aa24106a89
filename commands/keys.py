"""`flask keys …`: the server's signing keys, and what is encrypted under the secret key.

Keys follow each other by themselves (`crypto/key_schedule.py`). These commands are for a change before its
time, for a key that has leaked, and for a new secret key; `docs/operating.md` says in which order.
"""

import click

from commands.encryption_texts import count_text, unreadable_text
from commands.formatting import counted, iso
from commands.output import CommandGroup, Result, listed
from commands.problem_texts import problem_texts
from commands.transaction import CommandError
from crypto import key_schedule
from crypto.jwt import SIGNING
from errors import ConflictError
from services import encrypted_values, key_rotation
from services.current import settings
from services.key_rotation import KeyInfo, NextKey

keys = CommandGroup("keys", help="Signing keys, and what is encrypted under the secret key.")


@keys.command("list", takes_every_tenant=True)
def list_() -> Result:
    """List the signing keys, by algorithm and age."""
    known = [key._asdict() for key in key_rotation.list_keys()]
    hint = () if known else ("There is none yet: the first are made when they are needed.",)
    return listed(known, KeyInfo._fields, hint)


@keys.command("rotate")
@click.option("--alg", type=click.Choice(SIGNING), help="Of this algorithm alone.")
def rotate(alg: str | None) -> Result:
    """Publish the next keys now. They sign when every cached JWKS has them."""
    published = [key_rotation.publish_next(each) for each in SIGNING if alg in (None, each)]
    return Result([key._asdict() for key in published], messages=tuple(map(next_key_text, published)))


def next_key_text(key: NextKey) -> str:
    """Return what the command says of the key that signs next."""
    already = "" if key.is_new else " already"
    return f"{key.alg}: {key.kid} is announced{already}, and signs from {iso(key.signs_from)} on."


@keys.command("retire", context_settings={"ignore_unknown_options": True})  # one kid in 64 begins with a dash
@click.argument("kid")
@click.option("--force", is_flag=True, help="Also where something depends on it.")
def retire(kid: str, force: bool) -> Result:
    """Remove a key at once: what it signed is refused from now on.

    For an orderly change use `flask keys rotate`.
    """
    try:
        retired = key_rotation.retire(kid, force=force)
    except ConflictError as error:
        reasons = ", and ".join(problem_texts(error.problems))
        raise CommandError(f"{kid} is in use: {reasons}. If it has leaked, use --force") from None
    cached = int(settings.jwks_cache_lifetime.total_seconds())
    known = int(key_schedule.REREAD_INTERVAL.total_seconds())
    messages = [
        f"Took out {kid}. Every node knows it within {counted(known, 'second')}.",
        f"Copies of the JWKS that others have cached still hold it for up to {counted(cached, 'second')}.",
    ]
    if retired.successor is not None:
        messages.append(
            f"{retired.successor} signs from now on; those copies may lack it for as long: sign-ins may fail"
            " meanwhile."
        )
    return Result(retired._asdict(), messages=tuple(messages))


@keys.command("rewrap", takes_every_tenant=True)
def rewrap() -> Result:
    """Encrypt again, under the current secret key, what is encrypted under an old one."""
    old, unreadable = encrypted_values.reencrypt_old()
    messages = [f"Encrypted again: {count_text(old) or 'nothing'}."]
    if unreadable:
        messages.append(f"Warning: {unreadable_text(unreadable)}")
    elif settings.old_secret_keys:
        messages.append(old_key_text())
    return Result({"sealed_anew": len(old), "unreadable": len(unreadable)}, messages=tuple(messages))


def old_key_text() -> str:
    """Return when an old secret key may go."""
    use = key_rotation.old_secret_key_use()
    text = (
        f"The old key may leave OSTIARY_OLD_SECRET_KEYS {counted(use.days, 'day')} after the change:"
        " until then it knows sessions and refresh tokens. Whoever still has one of these afterwards signs in"
        " again."
    )
    endless = ", ".join(use.endless_client_ids)
    return f"{text} Refresh tokens without an end: {endless}." if endless else text
