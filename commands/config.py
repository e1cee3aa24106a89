"""`flask config check`: one page that says what is in force and what is wrong with it. It never prints a
secret.

Settings that cannot be used at all do not come this far: `create_app` refuses them, with every problem, for
any command.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta

import click
from flask.cli import AppGroup
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

import database
import store.migration_state
from commands.config_warnings import find_process_warnings, find_warnings
from commands.encryption_texts import count_text, unreadable_text
from commands.formatting import details
from commands.output import (
    HIDDEN,
    Result,
    every_tenant_option,
    joined,
    json_option,
    print_result,
    refuse_both,
    tenant_option,
    without_password,
)
from commands.problem_texts import problem_texts
from commands.transaction import (
    IS_MYSQL,
    NOT_MIGRATED,
    CommandError,
    database_problem,
    find_tenant,
    for_tenant,
    run_command,
    tenant_names,
)
from config import DEFAULTS_IN_WORDS, Settings
from crypto.json_values import JsonObject
from services import database_checks, encrypted_values, tenants
from services.current import settings
from services.tenant_settings import OF_TENANT
from services.tenant_state import HOME_NAME
from unit_of_work import transaction

config = AppGroup("config", help="The settings in force.")


@config.command("check")
@json_option
@tenant_option
@every_tenant_option
@click.pass_context
def check(context: click.Context, as_json: bool, tenant_name: str, every_tenant: bool) -> None:
    """Say what is in force, and whether this server could run with it. Exit code 1 where it could not."""
    refuse_both(tenant_name, every_tenant)
    if every_tenant:
        verdicts = {name: verdict_of_any(name) for name in tenant_names()}
        result = joined({name: shown(verdict) for name, verdict in verdicts.items()})
    else:
        verdicts = {tenant_name: verdict_of(tenant_name)}
        result = shown(verdicts[tenant_name])
    print_result(result, as_json)
    if not all(verdict["ok"] for verdict in verdicts.values()):
        context.exit(1)


def shown(verdict: JsonObject) -> Result:
    """Return what the command says of one issuer."""
    messages = (
        *(f"Warning: {warning}" for warning in verdict["warnings"]),
        *(f"Problem: {problem}" for problem in verdict["problems"]),
        "No problem found." if verdict["ok"] else "This will not do.",
    )
    members = verdict["settings"] | verdict["database"]
    return Result(verdict, details(members) if members else "", messages)


def verdict_of_any(name: str) -> JsonObject:
    """Return what is in force at one of all tenants, also where that cannot be used."""
    try:
        return verdict_of(name)
    except CommandError as error:
        return verdict({}, {}, error.problems, [])


def verdict_of(name: str) -> JsonObject:
    """Return what is in force at a tenant; at home for the process and its database too."""
    is_home = name == HOME_NAME
    return for_tenant(find_tenant(name), check_home if is_home else lambda: check_other(name))


def check_home() -> JsonObject:
    """Return what is in force for this server and its own issuer."""
    state, problems, database_warnings = check_database()
    warnings = [*find_process_warnings(), *find_warnings("OSTIARY_"), *database_warnings]
    return verdict(settings_in_force(), state, problems, warnings)


def check_other(name: str) -> JsonObject:
    """Return what is in force for a tenant, without what is the process's."""
    problems = run_command(lambda: problem_texts(tenants.find_stored_problems(tenants.get(name))))
    encryption_warnings = run_command(lambda: list(find_encryption_warnings()))
    in_force = settings_in_force()
    own = {member: in_force[member] for member in Settings.model_fields if member in ("issuer", *OF_TENANT)}
    return verdict(own, {}, problems, [*find_warnings(""), *encryption_warnings])


def verdict(
    in_force: dict[str, object], state: dict[str, bool], problems: Sequence[str], warnings: Sequence[str]
) -> JsonObject:
    """Return what `--json` prints of one issuer."""
    return {
        "ok": not problems,
        "settings": in_force,
        "database": state,
        "problems": list(problems),
        "warnings": list(warnings),
    }


def check_database() -> tuple[dict[str, bool], list[str], list[str]]:
    """Return whether the database answers and is migrated, then its problems, then its warnings."""
    unreachable = {"reachable": False, "migrated": False}
    if not database.is_there(settings.database_url):  # connecting would make it
        return unreachable | {"reachable": True}, [NOT_MIGRATED], []
    try:
        findings = database_checks.run_checks()
        with transaction():
            is_migrated = store.migration_state.is_migrated()
            warnings = list(find_encryption_warnings()) if is_migrated else []
    except DBAPIError as error:
        return unreachable, [database_problem(error)], []
    except PoolTimeoutError:
        return unreachable, ["the database is too busy"], []
    except InvalidRequestError:  # SQLAlchemy asks for the version when it first connects
        return unreachable, [IS_MYSQL], []
    problems = [finding.text for finding in findings if finding.severity == "problem"]
    warnings += [finding.text for finding in findings if finding.severity == "warning"]
    if not is_migrated:
        problems.append(NOT_MIGRATED)
    return {"reachable": True, "migrated": is_migrated}, problems, warnings


def find_encryption_warnings() -> Iterator[str]:
    """Return what would be lost with an old secret key, and what is lost already."""
    old, unreadable = encrypted_values.find_not_current()
    if old:
        yield f"{count_text(old)}: encrypted under an old secret key, run `flask keys rewrap`"
    if unreadable:
        yield unreadable_text(unreadable)


@config.command("settings")
def describe_settings() -> None:
    """Print every setting with its default and what it is for, as the Markdown table of docs/settings.md."""
    fields = Settings.model_fields.items()
    click.echo(
        "\n".join(
            [
                "| variable | default | a tenant's own | |",
                "| --- | --- | --- | --- |",
                *map(table_row, fields),
            ]
        )
    )


def table_row(item: tuple[str, FieldInfo]) -> str:
    """Return a setting as a row of the table."""
    name, field = item
    default = DEFAULTS_IN_WORDS.get(name) or f"`{value_text(field.default)}`"
    description = " ".join((field.description or "").split())
    of_tenant = "yes" if name in OF_TENANT else ""
    return f"| `OSTIARY_{name.upper()}` | {default.replace('``', 'none')} | {of_tenant} | {description} |"


def value_text(value: object) -> str:
    """Return a default as it would be written into the environment."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(without_secret(value))


def settings_in_force() -> dict[str, object]:
    """Return every setting as it would be written into the environment, secrets left out."""
    shown = {name: without_secret(getattr(settings, name)) for name in Settings.model_fields}
    return shown | {"database_url": without_password(settings.database_url)}


def without_secret(value: object) -> object:
    """Return the value of a setting as JSON has it, and HIDDEN for a secret."""
    if isinstance(value, SecretStr):
        return HIDDEN
    if isinstance(value, tuple):
        return [without_secret(item) for item in value]
    if isinstance(value, timedelta):
        return (
            int(value.total_seconds())
            if value % timedelta(seconds=1) == timedelta(0)
            else value.total_seconds()
        )
    return value if isinstance(value, int | str | None) else str(value)
