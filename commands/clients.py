"""`flask clients …`: registering clients and changing what they are registered for (RFC 7591 as commands).

Enters: options. Leaves: a stored registration and, with `--json`, the response of RFC 7591 §3.2.1. A secret
that was made is shown once. `services/clients.py` does the work.
"""

from typing import Unpack

import click

import store.clients
from commands.client_options import (
    ClientOptions,
    Duration,
    read_options,
    registration_options,
    with_empty_lists,
)
from commands.formatting import counted, details, iso, table
from commands.output import CommandGroup, Result
from commands.problem_texts import warning_texts
from commands.transaction import refuse_with
from protocol import clock
from services import client_secrets
from services import clients as service
from services.client_secrets import SecretInfo
from services.clients import Registration, information_response

COLUMNS = (
    "client_id",
    "client_name",
    "token_endpoint_auth_method",
    "grant_types",
    "scope",
    "is_resource_server",
)
KEEP_THE_SECRET = "Keep the client secret now: it is not shown again."  # noqa: S105 - says so, is none

clients = CommandGroup("clients", help="Applications and resource servers that are registered here.")


@clients.command("add")
@click.argument("name")
@registration_options
def add(name: str, **options: Unpack[ClientOptions]) -> Result:
    """Register a client.

    Without --grant-type, one that has a redirect URI gets authorization_code and refresh_token.
    """
    members, problems = read_options(options)
    members["client_name"] = name
    with refuse_with(problems):
        registration = service.register(members)
    return show_registration(registration, f"Registered {registration.client.client_id}.")


@clients.command("set")
@click.argument("client_id")
@click.option("--name", "client_name", help="What people see.")
@registration_options
def set_(client_id: str, client_name: str | None, **options: Unpack[ClientOptions]) -> Result:
    """Change what is given and nothing else.

    A list is replaced as a whole; an empty value ("") empties it.
    """
    members, problems = read_options(options)
    if client_name is not None:
        members["client_name"] = client_name
    if not members and not problems:
        raise click.UsageError("Nothing to change: give at least one option.")
    with refuse_with(problems):
        registration = service.change(client_id, with_empty_lists(members))
    return show_registration(registration, f"Changed {registration.client.client_id}.")


def show_registration(registration: Registration, message: str) -> Result:
    """Return what a command says of a client that it stored."""
    members = information_response(registration.client, registration.client_secret)
    hint = [KEEP_THE_SECRET] if registration.client_secret else []
    return Result(members, details(members), (message, *hint, *warning_texts(registration.warnings)))


@clients.command("list")
def list_() -> Result:
    """List all clients, by name."""
    known = [information_response(client) for client in store.clients.all_by_name()]
    return Result(known, table(known, COLUMNS))


@clients.command("show")
@click.argument("client_id")
def show(client_id: str) -> Result:
    """Show one client, with the number of its live tokens."""
    client = service.find(client_id)
    members = information_response(client) | {"tokens": store.clients.count_tokens(client.client_id)}
    secrets = client_secrets.list_live(client)
    described = {f"client secret {secret.number}": describe_secret(secret) for secret in secrets}
    listed = {"client_secrets": [secret._asdict() for secret in secrets]} if secrets else {}
    return Result(members | listed, details(members | described))


def describe_secret(secret: SecretInfo) -> str:
    """Return how old a secret is, when it was last used, and when it ends."""
    made = f"made {iso(secret.made_at)}" if secret.made_at else "made before that was noted"
    used = f"last used {iso(secret.last_used_at)}" if secret.last_used_at else "not used yet"
    ends = f", ends {iso(secret.ends_at)}" if secret.ends_at else ""
    return f"{made}, {used}{ends}"


@clients.command("rotate-secret")
@click.argument("client_id")
@click.option(
    "--overlap", type=Duration(), metavar="DURATION", help="How long the old one still works: 7d, 12h, 3600."
)
@click.option(
    "--now", "ends_old", is_flag=True, help="End the older of two secrets at once, and make no new one."
)
def rotate_secret(client_id: str, overlap: int | None, ends_old: bool) -> Result:
    """Make a new secret.

    The old one stops working at once, or after an overlap. At most two work at the same time.
    """
    if overlap is not None and ends_old:
        raise click.UsageError("--now ends the old secret, --overlap keeps it: give one of them.")
    if ends_old:
        client = service.delete_older_secret(client_id)
        message = f"The older secret of {client.client_id} has ended. The newer one stays."
        return show_registration(Registration(client), message)
    registration = service.rotate_secret(client_id, overlap)
    message = f"{registration.client.client_id} has a new secret."
    if overlap is not None:
        message += f" The one before is good until {iso(clock.now() + overlap)}."
    return show_registration(registration, message)


@clients.command("remove")
@click.argument("client_id")
def remove(client_id: str) -> Result:
    """Remove a client with its tokens, codes and consents."""
    client_id = service.find(client_id).client_id
    tokens = service.remove(client_id)
    message = f"Removed {client_id}. Ended: {counted(tokens, 'token')}."
    return Result({"client_id": client_id, "tokens": tokens}, messages=(message,))
