"""`flask users …`: people, and the end of what they are signed in to.

A password comes on stdin only: an argument would stay in the shell's history and show in the list of
processes.
"""

import sys
from typing import Any

import click

import store.codes
import store.tokens
import store.users
from commands.lookup import find_user, lock_fresh_user, lock_user
from commands.members import read_members, several, without_nulls
from commands.output import CommandError, CommandGroup, Result, counted, details, refuse_if_any, table
from models import User, db
from protocol import clock, person_claims, typed_text
from services import passwords
from services.sessions import end_sessions

CANNOT_BE_SET = "it cannot be set"
NOT_BY_SET = {"name": "use --name", "email": "use `users set --email`"} | dict.fromkeys(
    ("sub", "email_verified", "updated_at"), CANNOT_BE_SET
)

users = CommandGroup("users", help="People who can sign in.")


def read_password(context: click.Context, option: click.Parameter, given: bool) -> str:
    """The first line of stdin.

    It is read while the arguments are, so that no transaction waits for somebody who types.
    """
    if context.resilient_parsing:
        return ""
    if not given:
        raise click.MissingParameter("The password is read from stdin.", context, option)
    try:
        line = sys.stdin.buffer.readline().decode("utf-8")
    except UnicodeDecodeError:
        raise CommandError("the password is not UTF-8 text") from None
    return line.removesuffix("\n").removesuffix("\r")


password_option = click.option(
    "--password-stdin",
    "password",
    is_flag=True,
    callback=read_password,
    help="Read the password from the first line of stdin (required).",
)


set_option = several(
    "--set",
    "members",
    "CLAIM=JSON",
    "A claim of OpenID Connect, such as given_name='\"Ada\"', or groups='[\"admins\"]'; null takes it away.",
)


@users.command("add")
@click.argument("email")
@click.option("--name", default="", help="How the person is addressed.")
@set_option
@password_option
def add(email: str, name: str, members: tuple[str, ...], password: str) -> Result:
    """Add a person; the address counts as verified."""
    normal, name = store.users.normal_email(email), typed_text.name(name)
    given, problems = read_members(members, NOT_BY_SET)
    claims = person_claims.normal(without_nulls(given))
    problems += [*find_problems(email, normal, name, password), *person_claims.find_problems(claims)]
    refuse_if_any(problems)
    assert normal is not None  # noqa: S101 - it would have been a problem
    password_hash = passwords.hash_password(password)
    if store.users.find_by_email(email) is not None:
        raise CommandError(f"there is somebody with the address {normal} already")
    person = store.users.add(normal, name, password_hash, is_verified=True)
    person.claims = claims
    return Result(public_members(person), messages=(f"Added {normal}.",))


@users.command("set")
@click.argument("email")
@click.option(
    "--email",
    "new_email",
    help="Their new address, which counts as verified. To clients they stay who they are.",
)
@click.option("--name", help="How the person is addressed.")
@set_option
def set_(email: str, new_email: str | None, name: str | None, members: tuple[str, ...]) -> Result:
    """Change what clients are told of a person: address, name, or the claims that are given and no others."""
    if new_email is None and name is None and not members:
        raise click.UsageError("Nothing to change: give --email, --name or --set.")
    given, problems = read_members(members, NOT_BY_SET)
    person = lock_fresh_user(email)
    name = person.name if name is None else typed_text.name(name)
    claims = without_nulls((person.claims or {}) | person_claims.normal(given))
    address = person.email if new_email is None else store.users.normal_email(new_email)
    problems += [] if address is not None else [f"{new_email!r} is not an email address"]
    problems += [*problems_of_name(name), *person_claims.find_problems(claims)]
    somebody = None if new_email is None else store.users.find_by_email(new_email)
    if somebody is not None and somebody.id != person.id:
        problems.append(f"there is somebody with the address {somebody.email} already")
    refuse_if_any(problems)
    assert address is not None  # noqa: S101 - it would have been a problem
    has_new_profile = change_profile(person, name, claims)
    has_new_address = change_address(person, address)
    what = "Changed" if has_new_profile or has_new_address else "Nothing is new about"
    return Result(public_members(person), messages=(f"{what} {person.email}.",))


def change_address(person: User, address: str) -> bool:
    """Whether it is another one. The operator's word verifies it, as that of `add` does. Everything else
    stays: `sub`, password, sessions, tokens. A device is known by the address that was typed on it, so each
    is a new one at its next sign-in.
    """
    if address == person.email:
        return False
    now = clock.now()
    person.email, person.email_verified_at, person.updated_at = address, now, now
    # of two who take an address at once the second violates the unique key, and is told when it is run again
    db.session.flush()
    return True


def change_profile(person: User, name: str, claims: dict[str, Any]) -> bool:
    """Whether anything is new; `updated_at` says when that was last so (OpenID Connect Core §5.1)."""
    if (person.name, person.claims or {}) == (name, claims):
        return False
    person.name, person.claims, person.updated_at = name, claims, clock.now()
    return True


def find_problems(email: str, normal: str | None, name: str, password: str) -> list[str]:
    problems = [] if normal is not None else [f"{email!r} is not an email address"]
    problems += problems_of_name(name)
    if problem := passwords.find_problem(password):
        problems.append(f"the password will not do: {problem}")
    return problems


def problems_of_name(name: str) -> list[str]:
    problem = typed_text.problem(name, typed_text.NAME_LENGTH, minimum=0)
    return [f"the name {problem}"] if problem else []


@users.command("list")
def list_() -> Result:
    """List everybody, by address."""
    people = [public_members(person) for person in store.users.all_by_email()]
    return Result(people, table(people, ("email", "name", "sub", "email_verified_at", "disabled_at")))


@users.command("show")
@click.argument("email")
def show(email: str) -> Result:
    """Show one person, with the number of live sessions and tokens."""
    person = find_user(email)
    shown = public_members(person) | {
        "sessions": store.users.count_sessions(person.id, clock.now()),
        "tokens": store.tokens.count_of_user(person.id),
    }
    return Result(shown, details(shown))


@users.command("set-password")
@click.argument("email")
@password_option
def set_password(email: str, password: str) -> Result:
    """Give a person a new password, and sign them out everywhere."""
    if problem := passwords.find_problem(password):
        raise CommandError(f"the password will not do: {problem}")
    password_hash = passwords.hash_password(password)  # slow, so before the lock
    person = lock_user(email)
    store.users.set_password_hash(person.id, password_hash)
    return signed_out_answer(person, "has a new password")


@users.command("disable")
@click.argument("email")
def disable(email: str) -> Result:
    """Keep a person from signing in, and sign them out everywhere. `enable` undoes the first."""
    person = lock_user(email)
    if person.disabled_at is None:
        store.users.set_disabled(person.id, clock.now())
    return signed_out_answer(person, "is disabled")


@users.command("enable")
@click.argument("email")
def enable(email: str) -> Result:
    """Let a disabled person sign in again."""
    person = lock_user(email)
    store.users.set_disabled(person.id, None)
    return Result(public_members(person), messages=(f"{person.email} may sign in.",))


@users.command("sign-out")
@click.argument("email")
def sign_out(email: str) -> Result:
    """End all sessions, tokens and pending codes of a person."""
    return signed_out_answer(lock_user(email), "is signed out")


@users.command("remove")
@click.argument("email")
def remove(email: str) -> Result:
    """Remove a person with everything that belongs to them."""
    person = lock_user(email)
    answer = signed_out_answer(person, "is removed")
    store.users.remove(person.id)
    return answer


def signed_out_answer(person: User, what_happened: str) -> Result:
    """End what the person is signed in to, at this server and at every client, and say how much that was."""
    of_sessions = end_sessions(person.id)  # first: clients are told of sessions that are there
    ended = {
        "sessions": of_sessions.sessions,
        "codes": of_sessions.codes + store.codes.delete_pending(user_id=person.id),
        "tokens": of_sessions.tokens + store.tokens.revoke_of_user(person.id),
        "notices": of_sessions.notices,
    }
    words = (
        counted(ended["sessions"], "session"),
        counted(ended["codes"], "code"),
        counted(ended["tokens"], "token"),
    )
    told = f" Clients that will be told: {ended['notices']}." if ended["notices"] else ""
    message = f"{person.email} {what_happened}. Ended: {', '.join(words)}.{told}"
    return Result({"email": person.email, "sub": person.sub} | ended, messages=(message,))


def public_members(person: User) -> dict[str, Any]:
    """What may be shown of a person: everything but the password's hash."""
    return {
        "email": person.email,
        "name": person.name,
        "sub": person.sub,
        "created_at": person.created_at,
        "email_verified_at": person.email_verified_at,
        "disabled_at": person.disabled_at,
        "updated_at": person.updated_at,
        "claims": person.claims or {},
    }
