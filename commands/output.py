"""How every command runs and answers: one transaction on a migrated database, and output after its commit.

Enters: a function that returns a `Result`, or raises `CommandError` or a service's refusal. Leaves: text or
JSON on stdout, messages on stderr, exit code. A command that lost a race to a request is run again, as
`unit_of_work.run_in_transaction` does it: nothing was printed before the commit.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import click
import flask_migrate
from flask import current_app
from flask.cli import AppGroup, ScriptInfo
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

import database
import services.tenants
import store.migration_state
from commands.problem_texts import problem_texts
from database import describe, is_unavailable, lost_a_race
from errors import ConflictError, InvalidInputError, ServiceError, StorageBusyError
from models import db
from services.current import issuer, settings, state_of
from services.tenant_state import HOME_NAME, TenantState, entered
from unit_of_work import run_with_retries

Value = TypeVar("Value")

HIDDEN = "hidden"
MIGRATE = ".venv/bin/flask db upgrade"
NOT_MIGRATED = f"the database is not migrated: run `{MIGRATE}` first"
READ_ONLY = frozenset({"list", "show"})  # the commands of a noun that change nothing
IS_MYSQL = "the database server is MySQL: Ostiary needs MariaDB, which the URL names"


class CommandError(click.ClickException):
    """Say that the command was understood and not carried out; nothing was stored. Exit code 1."""

    def __init__(self, *problems: str) -> None:
        several = "\n".join(["nothing was stored:", *(f"  - {problem}" for problem in problems)])
        super().__init__(problems[0] if len(problems) == 1 else several)


def apply_migrations() -> None:
    """Migrate the database, as `flask db upgrade` does. Raise CommandError where it cannot be reached."""
    try:
        flask_migrate.upgrade()
    except DBAPIError as error:
        raise CommandError(database_problem(error)) from None
    except StorageBusyError as error:
        raise CommandError(busy_problem(error)) from None


@contextmanager
def refuse_with(problems: list[str]) -> Iterator[None]:
    """Raise CommandError for wrong arguments, together with all that a service finds wrong in the block."""
    try:
        yield
    except InvalidInputError as error:
        raise CommandError(*problems, *problem_texts(error.problems)) from None
    except ConflictError:
        if problems:
            raise CommandError(*problems) from None
        raise
    if problems:
        raise CommandError(*problems)


@dataclass(frozen=True)
class Result:
    """What a command prints once its transaction is committed."""

    data: object  # what --json prints
    text: str = ""  # what stdout gets without --json
    messages: tuple[str, ...] = ()  # for stderr, either way


class CommandGroup(AppGroup):
    """A group such as `flask users`: each command is one transaction, and takes `--json` and `--tenant`.

    of_tenant: whether its commands are about one tenant; else they have no `--tenant`.
    """

    def __init__(self, name: str, *, of_tenant: bool = True, **options: Any) -> None:
        super().__init__(name, **options)
        self.of_tenant = of_tenant

    def command(  # type: ignore[override]  # as Flask's own: always with a name
        self, name: str, *arguments: Any, **options: Any
    ) -> Callable[[Callable[..., Result]], click.Command]:
        """Return a decorator that makes a command of a function which returns a `Result`."""
        register = super().command(name, *arguments, **options)

        def decorate(function: Callable[..., Result]) -> click.Command:
            @json_option
            @wraps(function)
            def run(*values: Any, as_json: bool, tenant_name: str = HOME_NAME, **named: Any) -> None:
                with entered(find_tenant(tenant_name)):
                    result = run_command(lambda: function(*values, **named))
                    print_result(result, as_json, names_database=name not in READ_ONLY)

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
    "--tenant", "tenant_name", metavar="NAME", default=HOME_NAME, help="Another issuer than the server's own."
)


def for_home(function: Callable[..., None]) -> Callable[..., None]:
    """Return a command that is about this server's own issuer, or about the whole server."""

    @wraps(function)
    def run(*values: Any, **named: Any) -> None:
        with entered(find_tenant(HOME_NAME)):
            function(*values, **named)

    return run


def find_tenant(name: str) -> TenantState:
    """Return the tenant with this name. Raises CommandError, also where tenants are off."""
    known = state_of(current_app).tenants
    if name == HOME_NAME:
        return known.home
    with entered(known.home):
        tenant = run_command(lambda: services.tenants.get(name))
    db.session.remove()
    return known.state_of(tenant)


def run_command(command: Callable[[], Value]) -> Value:
    """Run a command as one transaction and return its result, committed.

    Raise CommandError, also for what a service refuses, and for a database that is away.
    """
    try:
        if not database.is_there(settings.database_url):  # connecting would make it
            raise CommandError(NOT_MIGRATED)
        return run_with_retries(lambda: run_if_migrated(command))
    except ServiceError as error:
        raise CommandError(*problem_texts(error.problems)) from None
    except DBAPIError as error:
        raise CommandError(database_problem(error)) from None
    except (PoolTimeoutError, StorageBusyError) as error:
        raise CommandError(busy_problem(error)) from None


def run_if_migrated(command: Callable[[], Value]) -> Value:
    """Return the result of a command. Raise CommandError where the database is not migrated."""
    if not store.migration_state.is_migrated():
        raise CommandError(NOT_MIGRATED)
    return command()


def database_problem(error: DBAPIError) -> str:
    """Return what went wrong, without the values of the statement.

    The driver's own words are used only where no statement was at fault.
    """
    if is_unavailable(error) and not lost_a_race(error):
        reason = str(error.orig).strip().splitlines() or [describe(error)]
        return f"the database cannot be used: {reason[0]}"
    return f"the database refused: {describe(error)}"


def busy_problem(error: Exception) -> str:
    """Return why the queue for the database did not move."""
    cause = error.__cause__
    if isinstance(cause, OSError):  # SQLite's lock file, which is opened before the first change
        advice = "run this as the user that the server runs as"
        return f"{cause.filename} cannot be opened ({cause.strerror}): {advice}"
    return "the database is too busy: try again"


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
