"""`flask version`: which one this is. It needs no settings and no database."""

import click

from commands.output import Result, json_option, print_result
from config import VERSION


@click.command("version")
@json_option
def version(as_json: bool) -> None:
    """Say which version of Ostiary this is."""
    print_result(Result({"version": VERSION}, f"Ostiary {VERSION}"), as_json)
