"""One file for each group of commands, such as `flask users`: argv in, a service called, text or JSON out.

With `--json` only JSON goes to stdout, everything else to stderr.
Exit code 0, 1 (refused) or 2 (usage). Each command is one transaction; `commands/output.py` runs it and shows
its answer.
"""

from collections.abc import Sequence

from flask import Flask

from commands import (
    clients,
    config,
    demo,
    keys,
    logout_notices,
    prove,
    scopes,
    seed,
    tenants,
    tokens,
    users,
    version,
)


def init_app(app: Flask) -> None:
    """Give the app its commands."""
    for group in (
        users.users,
        clients.clients,
        scopes.scopes,
        tokens.tokens,
        keys.keys,
        logout_notices.notices,
        tenants.tenants,
        config.config,
    ):
        app.cli.add_command(group)
    app.cli.add_command(demo.demo)
    app.cli.add_command(seed.seed)
    app.cli.add_command(prove.prove)
    app.cli.add_command(version.version)


def needs_no_settings(arguments: Sequence[str]) -> bool:
    """Return whether these arguments of `flask` only ask for help, the version or the list of settings."""
    words = [argument for argument in arguments if argument != "--json"]
    return not words or "--help" in words or words[-1] == "version" or words[-2:] == ["config", "settings"]
