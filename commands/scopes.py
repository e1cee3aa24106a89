"""`flask scopes …`: the scopes that clients can be registered for, and what the consent page says of each
(RFC 6749 §3.3).
"""

import click

import store.scopes
from commands.formatting import table
from commands.output import CommandGroup, Result
from services import scopes as service

scopes = CommandGroup("scopes", help="Scopes and their words on the consent page.")


@scopes.command("add")
@click.argument("name")
@click.option("--description", required=True, help="What the person allows, in words for the consent page.")
def add(name: str, description: str) -> Result:
    """Add a scope."""
    stored = service.add(name, description)
    return Result({"name": name, "description": stored}, messages=(f"Added the scope {name}.",))


@scopes.command("list")
def list_() -> Result:
    """List the scopes, by name."""
    known = [{"name": scope.name, "description": scope.description} for scope in store.scopes.all_by_name()]
    return Result(known, table(known, ("name", "description")))


@scopes.command("remove")
@click.argument("name")
def remove(name: str) -> Result:
    """Remove a scope that no client is registered for."""
    service.remove(name)
    return Result({"name": name}, messages=(f"Removed the scope {name}.",))
