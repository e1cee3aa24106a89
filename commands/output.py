"""How every command answers: text or JSON on stdout after its commit, messages on stderr, exit code.

Enters: a function that returns a `Result`, or raises `CommandError` or a service's refusal. Leaves: what is
printed. `commands/transaction.py` runs the function.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click
from flask.cli import AppGroup, ScriptInfo
from sqlalchemy import make_url

from commands.formatting import table
from commands.transaction import find_tenant, for_each_tenant, for_tenant, run_command
from crypto.json_values import JsonObject
from services.current import issuer, settings, state_of
from services.tenant_state import HOME_NAME, entered

HIDDEN = "hidden"
READ_ONLY = frozenset({"list", "show"})  # the commands of a noun that change nothing


@dataclass(frozen=True)
class Result:
    """What a command prints once its transaction is committed.

    columns: of a list, whose rows can stand in one table with those of other tenants.
    """

    data: Any  # what --json prints
    text: str = ""  # what stdout gets without --json
    messages: tuple[str, ...] = ()  # for stderr, either way
    columns: tuple[str, ...] = ()


def listed(rows: list[JsonObject], columns: tuple[str, ...], messages: tuple[str, ...] = ()) -> Result:
    """Return what a command that lists rows prints."""
    return Result(rows, table(rows, columns), messages, columns)


def joined(results: Mapping[str, Result]) -> Result:
    """Return the results of several tenants as one, which says whose each row and each message is."""
    rows: list[JsonObject] = []
    for name, result in results.items():
        of_tenant = result.data if isinstance(result.data, list) else [result.data]
        rows += [{"tenant": name} | row for row in of_tenant]
    columns = next((result.columns for result in results.values()), ())
    messages = tuple(f"{name}: {text}" for name, result in results.items() for text in result.messages)
    texts = [f"tenant {name}\n{result.text}\n" for name, result in results.items() if result.text]
    return Result(rows, table(rows, ("tenant", *columns)) if columns else "\n".join(texts), messages)


class CommandGroup(AppGroup):
    """A group such as `flask users`: each command is one transaction, and takes `--json` and `--tenant`.

    of_tenant: whether its commands are about one tenant; else they have no `--tenant`.
    """

    def __init__(self, name: str, *, of_tenant: bool = True, **options: Any) -> None:
        super().__init__(name, **options)
        self.of_tenant = of_tenant

    def command(  # type: ignore[override]  # as Flask's own: always with a name
        self, name: str, *arguments: Any, takes_every_tenant: bool = False, **options: Any
    ) -> Callable[[Callable[..., Result]], click.Command]:
        """Return a decorator that makes a command of a function which returns a `Result`.

        takes_every_tenant: whether it has `--every-tenant` too.
        """
        register = super().command(name, *arguments, **options)

        def decorate(function: Callable[..., Result]) -> click.Command:
            @json_option
            @wraps(function)
            def run(
                *values: Any,
                as_json: bool,
                tenant_name: str = HOME_NAME,
                every_tenant: bool = False,
                **named: Any,
            ) -> None:
                def work() -> Result:
                    return run_command(lambda: function(*values, **named))

                refuse_both(tenant_name, every_tenant)
                tenant = find_tenant(tenant_name)
                result = joined(for_each_tenant(work)) if every_tenant else for_tenant(tenant, work)
                with entered(tenant):
                    print_result(result, as_json, names_database=name not in READ_ONLY)

            if takes_every_tenant:
                run = every_tenant_option(run)
            return register(tenant_option(run) if self.of_tenant else run)

        return decorate

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Refuse before a password is asked for where there are no settings; `--help` needs none."""
        if "--help" not in args:
            _ = state_of(ctx.ensure_object(ScriptInfo).load_app())
        return super().resolve_command(ctx, args)


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON on stdout, and nothing else there."
)


tenant_option = click.option(
    "--tenant",
    "tenant_name",
    metavar="NAME",
    default=HOME_NAME,
    help="For this tenant; without it, for home, the server's own issuer.",
)
every_tenant_option = click.option(
    "--every-tenant", is_flag=True, help="The server's own issuer and all others, one after the other."
)


def refuse_both(tenant_name: str, every_tenant: bool) -> None:
    """Raise UsageError where one tenant is asked for and all are."""
    if every_tenant and tenant_name != HOME_NAME:
        raise click.UsageError("use --tenant or --every-tenant, not both")


def for_home(function: Callable[..., None]) -> Callable[..., None]:
    """Return a command that is about this server's own issuer, or about the whole server."""

    @wraps(function)
    def run(*values: Any, **named: Any) -> None:
        with entered(find_tenant(HOME_NAME)):
            function(*values, **named)

    return run


def print_result(result: Result, as_json: bool, *, names_database: bool = False) -> None:
    """Print the messages to stderr, and the text or the JSON to stdout.

    names_database: for what may have changed something, so that nobody takes one server for another.
    """
    for message in result.messages:
        click.echo(message, err=True)
    if names_database:
        click.echo(target_database(), err=True)
    if as_json:
        click.echo(json.dumps(result.data, indent=2))
    elif result.text:
        click.echo(result.text)


def target_database() -> str:
    """Return the issuer and the database that a command works on, without any secret."""
    return f"Issuer {issuer}, database {without_password(settings.database_url)}"


def without_password(database_url: str) -> str:
    """Return the URL with its passwords hidden: drivers take one in the query too."""
    url = make_url(database_url)
    query = {name: HIDDEN if "pass" in name.lower() else value for name, value in url.query.items()}
    return url.set(query=query).render_as_string(hide_password=True)
