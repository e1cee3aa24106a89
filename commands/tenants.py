"""`flask tenants …`: issuers beside this server's own, with their own users, clients, scopes and keys."""

import click

import store.tenants
from commands.formatting import iso, table
from commands.members import read_members
from commands.output import CommandGroup, Result, refuse_with
from crypto.json_values import JsonObject
from services import tenants as service
from store.tenants import TenantRow

tenants = CommandGroup("tenants", help="Issuers beside this server's own.", of_tenant=False)

COLUMNS = ("name", "issuer", "created_at", "disabled_at")


def described(tenant: TenantRow) -> JsonObject:
    """Return a tenant as JSON."""
    return {
        "name": tenant.name,
        "issuer": service.issuer_of(tenant),
        "settings": tenant.settings,
        "created_at": iso(tenant.created_at),
        "disabled_at": None if tenant.disabled_at is None else iso(tenant.disabled_at),
    }


@tenants.command("add")
@click.argument("name")
@click.option("--issuer", help="At a host of its own; else it is /t/NAME at this server's origin.")
def add(name: str, issuer: str | None) -> Result:
    """Add a tenant. Every node answers for it within half a minute."""
    tenant = service.add(name, issuer)
    return Result(described(tenant), messages=(f"Added the tenant {name}: {service.issuer_of(tenant)}",))


@tenants.command("list")
def list_() -> Result:
    """List the tenants, by name."""
    service.refuse_if_off()
    known = [described(tenant) for tenant in store.tenants.all_others()]
    return Result(known, table(known, COLUMNS))


@tenants.command("show")
@click.argument("name")
def show(name: str) -> Result:
    """Show a tenant with the settings that it has of its own."""
    found = described(service.get(name))
    own = [f"{member}={value}" for member, value in found["settings"].items()]
    lines = [f"{member}: {value}" for member, value in found.items() if member != "settings"]
    return Result(found, "\n".join([*lines, *own]))


@tenants.command("set")
@click.argument("name")
@click.argument("members", nargs=-1, required=True, metavar="MEMBER=JSON…")
def set_(name: str, members: tuple[str, ...]) -> Result:
    """Set settings of a tenant, such as max_sessions=3 or signup=\'"open"\'; null takes one back."""
    values, problems = read_members(members, reserved={})
    with refuse_with(problems):
        tenant = service.put_settings(name, values)
    return Result(described(tenant), messages=(f"Changed the tenant {name}.",))


@tenants.command("disable")
@click.argument("name")
def disable(name: str) -> Result:
    """Let a tenant answer nothing, on every node within half a minute. Its rows stay."""
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
    return Result({"name": name, "rows": removed}, messages=(f"Removed the tenant {name}.",))
