"""`flask scopes …`: the scopes that clients can be registered for, and what the consent page says of each
(RFC 6749 §3.3).
"""

import click

import store.clients
import store.scopes
from commands.output import CommandError, CommandGroup, Result, refuse_if_any, table
from protocol import typed_text
from protocol.scopes import OFFLINE_ACCESS, is_scope_token

MAXIMUM_DESCRIPTION_LENGTH = 300

scopes = CommandGroup("scopes", help="Scopes and their words on the consent page.")


@scopes.command("add")
@click.argument("name")
@click.option("--description", required=True, help="What the person allows, in words for the consent page.")
def add(name: str, description: str) -> Result:
    """Add a scope."""
    description = normal_description(description)
    refuse_if_any(find_problems(name, description))
    if name == OFFLINE_ACCESS or store.scopes.find(name) is not None:
        raise CommandError(f"the scope {name} exists already")
    store.scopes.add(name, description)
    return Result({"name": name, "description": description}, messages=(f"Added the scope {name}.",))


def normal_description(description: str) -> str:
    return typed_text.words(description, MAXIMUM_DESCRIPTION_LENGTH)


def find_problems(name: str, description: str) -> list[str]:
    problems = []
    if not is_scope_token(name):
        problems.append(
            f"{name!r} cannot be a scope: use 1 to 128 ASCII characters without blanks, quotes, backslashes"
        )
    if problem := typed_text.problem(description, MAXIMUM_DESCRIPTION_LENGTH):
        problems.append(f"the description {problem}")
    return problems


@scopes.command("list")
def list_() -> Result:
    """List the scopes, by name."""
    known = [{"name": scope.name, "description": scope.description} for scope in store.scopes.all_by_name()]
    return Result(known, table(known, ("name", "description")))


@scopes.command("remove")
@click.argument("name")
def remove(name: str) -> Result:
    """Remove a scope that no client is registered for."""
    scope = store.scopes.find(name) if is_scope_token(name) else None
    if scope is None:
        raise CommandError(f"there is no scope {name!r}")
    if clients := store.clients.with_scope(name):
        ids = ", ".join(client.client_id for client in clients)
        raise CommandError(
            f"clients are registered for {name}: {ids}. Take it from them with `flask clients set` first"
        )
    store.scopes.remove(scope)
    return Result({"name": name}, messages=(f"Removed the scope {name}.",))
