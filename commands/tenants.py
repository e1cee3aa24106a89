"""`flask tenants …`: issuers beside this server's own, with their own users, clients, scopes and keys."""

import json

import click

from commands.formatting import counted, details
from commands.members import read_members
from commands.output import CommandGroup, Result, listed
from commands.transaction import refuse_with
from crypto.json_values import JsonObject
from services import tenants as service
from store.tenants import TenantRow

tenants = CommandGroup(
    "tenants",
    of_tenant=False,
    help="Issuers beside this server's own, where OSTIARY_TENANTS is on. Other commands take --tenant NAME.",
)

COLUMNS = ("name", "issuer", "created_at", "disabled_at")


def described(tenant: TenantRow) -> JsonObject:
    """Return a tenant as JSON."""
    return {
        "name": tenant.name,
        "issuer": service.issuer_of(tenant),
        "settings": tenant.settings,
        "branding": tenant.branding,
        "created_at": tenant.created_at,
        "disabled_at": tenant.disabled_at,
    }


@tenants.command("add")
@click.argument("name")
@click.option(
    "--issuer",
    metavar="URL",
    help="At a host of its own, such as https://login.acme.example; else it is /t/NAME at this server's"
    " origin.",
)
def add(name: str, issuer: str | None) -> Result:
    """Add a tenant. Every node answers for it within half a minute.

    NAME has 1 to 40 of a-z, 0-9 and -. It begins with the scopes of OpenID Connect, without users and
    clients.
    """
    tenant = service.add(name, issuer)
    return Result(described(tenant), messages=(f"Added the tenant {name}: {service.issuer_of(tenant)}",))


@tenants.command("list")
def list_() -> Result:
    """List the tenants, by name."""
    return listed([described(tenant) for tenant in service.all_others()], COLUMNS)


@tenants.command("show")
@click.argument("name")
def show(name: str) -> Result:
    """Show a tenant with the settings that it has of its own."""
    found = described(service.get(name))
    shown = {member: found[member] for member in COLUMNS}
    own = {
        **found["settings"],
        **{f"{service.BRANDING}{key}": value for key, value in found["branding"].items()},
    }
    return Result(found, details(shown | {member: json.dumps(value) for member, value in own.items()}))


@tenants.command("set")
@click.argument("name")
@click.argument("members", nargs=-1, required=True, metavar="MEMBER=JSON…")
def set_(name: str, members: tuple[str, ...]) -> Result:
    """Set settings of a tenant; null takes one back. They are in force within half a minute.

    MEMBER is the name of a setting in lower case and without the prefix, such as max_sessions=3 or
    signup='"open"'; docs/settings.md says which. branding.name='"Acme"' is what pages show in place of
    Ostiary.
    """
    values, problems = read_members(members, reserved={}, before="")
    with refuse_with(problems):
        tenant = service.put_members(name, values)
    return Result(described(tenant), messages=(f"Changed the tenant {name}.",))


@tenants.command("disable")
@click.argument("name")
def disable(name: str) -> Result:
    """Let a tenant answer nothing. Every node does so within half a minute, and its rows stay."""
    service.disable(name)
    return Result({"name": name}, messages=(f"Disabled the tenant {name}.",))


@tenants.command("enable")
@click.argument("name")
def enable(name: str) -> Result:
    """Let a disabled tenant answer again."""
    service.enable(name)
    return Result({"name": name}, messages=(f"Enabled the tenant {name}.",))


@tenants.command("remove")
@click.argument("name")
@click.confirmation_option(prompt="Remove the tenant and all that it has?", help="Do not ask.")
def remove(name: str) -> Result:
    """Remove a tenant with its users, clients, scopes, keys and sessions. Nothing brings them back."""
    removed = {rows: number for rows, number in service.remove(name).items() if number}
    done = f"Removed the tenant {name}, and {counted(sum(removed.values()), 'row')} of it."
    return Result({"name": name, "rows": removed}, messages=(done,))
