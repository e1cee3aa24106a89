"""`flask users …`: the people who can sign in, and the end of what they are signed in to.

A password comes on stdin only: an argument would stay in the shell's history and show in the list of
processes. `services/users.py` does the work.
"""

import sys

import click

import store.tokens
import store.users
from commands.formatting import counted, details, table
from commands.members import read_members, repeatable
from commands.output import CommandGroup, Result
from commands.transaction import CommandError, refuse_with
from models import User
from protocol import clock
from services import passwords
from services import users as service
from services.sessions import SignedOut
from services.users import NewUser

CANNOT_BE_SET = "it cannot be set"
NOT_BY_SET = {"name": "use --name", "email": "use `users set --email`"} | dict.fromkeys(
    ("sub", "email_verified", "updated_at"), CANNOT_BE_SET
)

users = CommandGroup("users", help="People who can sign in.")


def read_password(context: click.Context, option: click.Parameter, given: bool) -> str:
    """Return the first line of stdin.

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
set_option = repeatable(
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
    claims, problems = read_members(members, NOT_BY_SET)
    with refuse_with(problems):
        user = service.add(service.prepare(NewUser(email, name, password, claims)), is_verified=True)
    return Result(service.public_members(user), messages=(f"Added {user.email}.",))


@users.command("set")
@click.argument("email")
@click.option(
    "--email",
    "new_email",
    help="The new address, which counts as verified. To clients it is the same person.",
)
@click.option("--name", help="How the person is addressed.")
@set_option
def set_(email: str, new_email: str | None, name: str | None, members: tuple[str, ...]) -> Result:
    """Change what clients are told of a person: the address, the name, or the claims that are given."""
    if new_email is None and name is None and not members:
        raise click.UsageError("Nothing to change: give --email, --name or --set.")
    claims, problems = read_members(members, NOT_BY_SET)
    user = service.lock_fresh(email)
    with refuse_with(problems):
        is_new = service.change(user, new_email, name, claims)
    message = f"{'Changed' if is_new else 'Nothing is new about'} {user.email}."
    return Result(service.public_members(user), messages=(message,))


@users.command("list")
def list_() -> Result:
    """List everybody, by address."""
    known = [service.public_members(user) for user in store.users.all_by_email()]
    return Result(known, table(known, ("email", "name", "sub", "email_verified_at", "disabled_at")))


@users.command("show")
@click.argument("email")
def show(email: str) -> Result:
    """Show one person, with the number of live sessions and tokens."""
    user = service.find(email)
    shown = service.public_members(user) | {
        "sessions": store.users.count_sessions(user.id, clock.now()),
        "tokens": store.tokens.count_of_user(user.id),
    }
    return Result(shown, details(shown))


@users.command("set-password")
@click.argument("email")
@password_option
def set_password(email: str, password: str) -> Result:
    """Give a person a new password, and sign them out everywhere."""
    password_hash = passwords.hash_new(password)  # slow, so before the lock
    user = service.lock(email)
    return show_signed_out(user, "has a new password", service.set_password(user, password_hash))


@users.command("disable")
@click.argument("email")
def disable(email: str) -> Result:
    """Stop a person from signing in, and sign them out everywhere. `enable` lets them sign in again."""
    user = service.lock(email)
    return show_signed_out(user, "is disabled", service.disable(user))


@users.command("enable")
@click.argument("email")
def enable(email: str) -> Result:
    """Let a disabled person sign in again."""
    user = service.lock(email)
    service.enable(user)
    return Result(service.public_members(user), messages=(f"{user.email} may sign in.",))


@users.command("sign-out")
@click.argument("email")
def sign_out(email: str) -> Result:
    """End all sessions, tokens and pending codes of a person."""
    user = service.lock(email)
    return show_signed_out(user, "is signed out", service.sign_out(user))


@users.command("remove")
@click.argument("email")
def remove(email: str) -> Result:
    """Remove a person with everything that belongs to them."""
    user = service.lock(email)
    return show_signed_out(user, "is removed", service.remove(user))


def show_signed_out(user: User, what_happened: str, ended: SignedOut) -> Result:
    """Return what a command says of a user who was signed out everywhere."""
    counts = ", ".join(
        (
            counted(ended.sessions, "session"),
            counted(ended.codes, "code"),
            counted(ended.tokens, "token"),
        )
    )
    notices = f" Clients that will be told: {ended.notices}." if ended.notices else ""
    message = f"{user.email} {what_happened}. Ended: {counts}.{notices}"
    return Result({"email": user.email, "sub": user.sub} | ended._asdict(), messages=(message,))
