"""`flask config check`: one page that says what is in force and what is wrong with it. It never prints a
secret.

Settings that cannot be used at all do not come this far: `create_app` refuses them, with every problem, for
any command.
"""

import os
from collections.abc import Iterator
from datetime import timedelta

import click
from flask.cli import AppGroup
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

import database
import store.migration_state
from commands.encryption_texts import count_text, unreadable_text
from commands.formatting import details
from commands.output import (
    HIDDEN,
    IS_MYSQL,
    NOT_MIGRATED,
    Result,
    database_problem,
    for_home,
    json_option,
    print_result,
    without_password,
)
from config import CREATES, DEFAULTS_IN_WORDS, Settings
from environment import env_file
from protocol.client_address import UNIX
from services import database_checks, encrypted_values
from services.current import settings
from unit_of_work import transaction

LONG_ACCESS_TOKEN = timedelta(hours=1)
LONG_PUBLIC_LEEWAY = timedelta(minutes=1)

config = AppGroup("config", help="The settings in force.")


@config.command("check")
@json_option
@click.pass_context
@for_home
def check(context: click.Context, as_json: bool) -> None:
    """Say what is in force, and whether this server could run with it. Exit code 1 where it could not."""
    state, problems, database_warnings = check_database()
    warnings = [*find_warnings(), *database_warnings]
    shown = settings_in_force()
    verdict = {
        "ok": not problems,
        "settings": shown,
        "database": state,
        "problems": problems,
        "warnings": warnings,
    }
    messages = (
        *(f"Warning: {warning}" for warning in warnings),
        *(f"Problem: {problem}" for problem in problems),
        "This will not do." if problems else "No problem found.",
    )
    print_result(Result(verdict, details(shown | state), messages), as_json)
    if problems:
        context.exit(1)


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
    click.echo("\n".join(["| variable | default | |", "| --- | --- | --- |", *map(table_row, fields)]))


def table_row(item: tuple[str, FieldInfo]) -> str:
    """Return a setting as a row of the table."""
    name, field = item
    default = DEFAULTS_IN_WORDS.get(name) or f"`{value_text(field.default)}`"
    description = " ".join((field.description or "").split())
    return f"| `OSTIARY_{name.upper()}` | {default.replace('``', 'none')} | {description} |"


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


def find_warnings() -> Iterator[str]:
    """Return what is allowed and may not be what was meant."""
    yield from find_misspelt_variables()
    if settings.is_development:
        yield "the issuer is a loopback address: this is a server for development"
    elif settings.signup == "open":
        yield "OSTIARY_SIGNUP is open: anybody may make an account"
    if settings.is_https and not settings.is_development and not settings.trusted_proxies:
        yield "OSTIARY_TRUSTED_PROXIES is not set: behind a proxy, every visitor has the address of the proxy"
    if any(proxy != UNIX and proxy.prefixlen == 0 for proxy in settings.trusted_proxies):
        yield (
            "OSTIARY_TRUSTED_PROXIES names every address: anybody can say who they are, and no"
            " throttle holds them"
        )
    if settings.access_token_lifetime > LONG_ACCESS_TOKEN:
        yield (
            "OSTIARY_ACCESS_TOKEN_LIFETIME is more than an hour: a leaked token is of use for long"
            " (RFC 9700 §2.2)"
        )
    if settings.refresh_token_idle_lifetime > settings.refresh_token_lifetime:
        yield (
            "OSTIARY_REFRESH_TOKEN_IDLE_LIFETIME is longer than OSTIARY_REFRESH_TOKEN_LIFETIME,"
            " which ends tokens first"
        )
    if not settings.refresh_leeway and not settings.refresh_retry_lifetime:
        yield "OSTIARY_REFRESH_LEEWAY and _RETRY_LIFETIME are 0: a client that loses one answer is signed out"
    if not settings.public_refresh_leeway:
        yield "OSTIARY_PUBLIC_REFRESH_LEEWAY is 0: a public client that loses one answer is signed out"
    if settings.public_refresh_leeway > LONG_PUBLIC_LEEWAY:
        yield (
            "OSTIARY_PUBLIC_REFRESH_LEEWAY is more than a minute: for so long a thief who refreshes"
            " first stays unseen"
        )
    if settings.old_secret_keys:
        yield "OSTIARY_OLD_SECRET_KEYS is set: what these keys signed is still accepted"


def find_misspelt_variables() -> Iterator[str]:
    """Return variables that look like settings and are none: the default is in force in their place."""
    known = {env_file.variable_of(name) for name in Settings.model_fields}
    known |= {env_file.NAMED_FILE, CREATES, *map(env_file.file_variable_of, env_file.IN_FILES)}
    for name in sorted(os.environ):
        if name.upper().startswith("OSTIARY_") and name.upper() not in known:
            yield f"{name} is no setting of this version"
