"""`flask users …`: people, and the end of what they are signed in to.

A password comes on stdin only: an argument would stay in the shell's history and show in the list of processes.
"""

import sys
from typing import Any

import click

import store.codes
import store.tokens
import store.user_sessions
import store.users
from commands.lookup import find_person, lock_person
from commands.output import Answer, Noun, Refused, counted, details, refuse_if_any, table
from models import User
from protocol import clock, passwords

MAXIMUM_NAME_LENGTH = 200

users = Noun("users", help="People who can sign in.")


def read_password(context: click.Context, option: click.Parameter, given: bool) -> str:
    """The first line of stdin. It is read while the arguments are, so that no transaction waits for somebody who types."""
    if context.resilient_parsing:
        return ""
    if not given:
        raise click.MissingParameter("The password is read from stdin.", context, option)
    try:
        line = sys.stdin.buffer.readline().decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("the password is not UTF-8 text") from None
    return line.removesuffix("\n").removesuffix("\r")


password_option = click.option(
    "--password-stdin",
    "password",
    is_flag=True,
    callback=read_password,
    help="Read the password from the first line of stdin (required).",
)


@users.command("add")
@click.argument("email")
@click.option("--name", default="", help="How the person is addressed.")
@click.option("--admin", "is_admin", is_flag=True, help="May administer this server.")
@password_option
def add(email: str, name: str, is_admin: bool, password: str) -> Answer:
    """Add a person; the address counts as verified."""
    normal = store.users.normal_email(email)
    refuse_if_any(find_problems(email, normal, name.strip(), password))
    assert normal is not None  # noqa: S101 - it would have been a problem
    password_hash = passwords.hash_password(password)
    if store.users.find_by_email(normal) is not None:
        raise Refused(f"there is somebody with the address {normal} already")
    person = store.users.add(normal, name.strip(), password_hash, is_admin=is_admin, is_verified=True)
    return Answer(public_members(person), messages=(f"Added {normal}.",))


def find_problems(email: str, normal: str | None, name: str, password: str) -> list[str]:
    problems = []
    if normal is None:
        problems.append(f"{email!r} is not an email address")
    if len(name) > MAXIMUM_NAME_LENGTH or not name.isprintable():
        problems.append(f"the name must be printable text of at most {MAXIMUM_NAME_LENGTH} characters")
    if problem := passwords.find_problem(password):
        problems.append(f"the password will not do: {problem}")
    return problems


@users.command("list")
def list_() -> Answer:
    """List everybody, by address."""
    people = [public_members(person) for person in store.users.all_by_email()]
    return Answer(people, table(people, ("email", "name", "sub", "is_admin", "email_verified_at", "disabled_at")))


@users.command("show")
@click.argument("email")
def show(email: str) -> Answer:
    """Show one person, with the number of live sessions and tokens."""
    person = find_person(email)
    shown = public_members(person) | {
        "sessions": store.users.count_sessions(person.id, clock.now()),
        "tokens": store.tokens.count_of_user(person.id),
    }
    return Answer(shown, details(shown))


@users.command("set-password")
@click.argument("email")
@password_option
def set_password(email: str, password: str) -> Answer:
    """Give a person a new password, and sign them out everywhere."""
    if problem := passwords.find_problem(password):
        raise Refused(f"the password will not do: {problem}")
    password_hash = passwords.hash_password(password)  # slow, so before the lock
    person = lock_person(email)
    store.users.set_password_hash(person.id, password_hash)
    return signed_out_answer(person, "has a new password")


@users.command("disable")
@click.argument("email")
def disable(email: str) -> Answer:
    """Keep a person from signing in, and sign them out everywhere. `enable` undoes the first."""
    person = lock_person(email)
    if person.disabled_at is None:
        store.users.set_disabled(person.id, clock.now())
    return signed_out_answer(person, "is disabled")


@users.command("enable")
@click.argument("email")
def enable(email: str) -> Answer:
    """Let a disabled person sign in again."""
    person = lock_person(email)
    store.users.set_disabled(person.id, None)
    return Answer(public_members(person), messages=(f"{person.email} may sign in.",))


@users.command("sign-out")
@click.argument("email")
def sign_out(email: str) -> Answer:
    """End all sessions, tokens and pending codes of a person."""
    return signed_out_answer(lock_person(email), "is signed out")


@users.command("remove")
@click.argument("email")
def remove(email: str) -> Answer:
    """Remove a person with everything that belongs to them."""
    person = lock_person(email)
    answer = signed_out_answer(person, "is removed")
    store.users.remove(person.id)
    return answer


def signed_out_answer(person: User, what_happened: str) -> Answer:
    """End what the person is signed in to, at this server and at every client, and say how much that was."""
    ended = {
        "sessions": store.user_sessions.end_of_user(person.id),
        "codes": store.codes.end_pending(user_id=person.id),
        "tokens": store.tokens.end_of_user(person.id),
    }
    words = (counted(ended["sessions"], "session"), counted(ended["codes"], "code"), counted(ended["tokens"], "token"))
    message = f"{person.email} {what_happened}. Ended: {', '.join(words)}."
    return Answer({"email": person.email, "sub": person.sub} | ended, messages=(message,))


def public_members(person: User) -> dict[str, Any]:
    """What may be shown of a person: everything but the password's hash."""
    return {
        "email": person.email,
        "name": person.name,
        "sub": person.sub,
        "is_admin": person.is_admin,
        "created_at": person.created_at,
        "email_verified_at": person.email_verified_at,
        "disabled_at": person.disabled_at,
    }
