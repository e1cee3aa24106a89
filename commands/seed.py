"""`flask seed FILE`: users, clients and scopes from a JSON file, for tests and for development.

Enters: `{"scopes": […], "users": […], "clients": […]}`, clients in the member names of RFC 7591 §2. Leaves:
all the rows or none. The file may choose what is otherwise random (`client_id`, `client_secret`, `sub`), so
this is for a loopback issuer only: a short secret is soon guessed from its digest. What is there already is
brought in line with the file, and what the file does not name stays as it is: a second run changes nothing.
With `--tenant` all of it is that tenant's, which must be there. `commands/seed_file.py` reads the file.
"""

from typing import BinaryIO

import click
from flask.cli import with_appcontext

from commands import seed_file
from commands.formatting import counted, table
from commands.output import Result, for_home, json_option, print_result, tenant_option
from commands.problem_texts import problem_text, problem_texts
from commands.seed_file import SeedFile
from commands.transaction import CommandError, apply_migrations, find_tenant, run_command
from services import seed as service
from services.clients import Registration, information_response
from services.current import settings
from services.seed import Seeded
from services.tenant_state import entered
from services.users import public_members


@click.command("seed")
@click.argument("file", type=click.File("rb"))
@click.option("--migrate", is_flag=True, help="Apply the migrations first, as `flask db upgrade` does.")
@json_option
@tenant_option
@with_appcontext
@for_home
def seed(file: BinaryIO, migrate: bool, as_json: bool, tenant_name: str) -> None:
    """Change accounts, clients and scopes to what a JSON FILE says ("-": stdin); loopback issuers only.

    What the file does not name stays as it is.
    """
    refuse_production()
    read = seed_file.read(file)
    if migrate:
        apply_migrations()
    with entered(find_tenant(tenant_name)):
        refuse_production()
        print_result(run_command(lambda: apply(read)), as_json, names_database=True)


def refuse_production() -> None:
    """Raise CommandError where the issuer is not on loopback."""
    if not settings.is_development:
        raise CommandError(
            "seeds are for a loopback issuer only: their passwords and secrets stand in a file"
        )


def apply(read: SeedFile) -> Result:
    """Bring everything in line with a file, and return what there is now."""
    if read.problems:
        raise CommandError(*read.problems, *problem_texts(service.find_problems(read.seed)))
    return show_seeded(service.apply(read.seed))


def show_seeded(seeded: Seeded) -> Result:
    """Return what the command says of the rows."""
    clients = [information_response(client, secret) for client, secret, _warnings in seeded.clients]
    data = {
        "scopes": [scope._asdict() for scope in seeded.scopes],
        "users": [public_members(user) for user in seeded.users],
        "clients": clients,
    }
    numbers = (
        counted(len(seeded.users), "user"),
        counted(len(seeded.clients), "client"),
        counted(len(seeded.scopes), "scope"),
    )
    warnings = [text for registration in seeded.clients for text in warnings_about(registration)]
    text = table(clients, ("client_id", "client_secret", "client_name")) if clients else ""
    return Result(data, text, (f"In line with the file: {', '.join(numbers)}.", *warnings))


def warnings_about(registration: Registration) -> list[str]:
    """Return the warnings about one client, each after its id."""
    client_id = registration.client.client_id
    return [f"{client_id}: Warning: {problem_text(warning)}" for warning in registration.warnings]
