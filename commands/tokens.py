"""`flask tokens …`: ending tokens, and the codes that would become tokens, from the shell (the operator's RFC
7009).
"""

import click

from commands.formatting import counted
from commands.output import CommandGroup, Result
from services import tokens as service

tokens = CommandGroup("tokens", help="Live tokens.")


@tokens.command("revoke")
@click.option("--user", "email", metavar="EMAIL", help="The tokens of this person.")
@click.option(
    "--client", "client_id", metavar="ID", help="The tokens of this client, also those without a user."
)
def revoke(email: str | None, client_id: str | None) -> Result:
    """End tokens and pending codes: of a person, of a client, or of a person at a client."""
    revoked = None
    if email is not None:
        revoked = service.revoke_of_user(email, client_id)
    elif client_id is not None:
        revoked = service.revoke_of_client(client_id)
    if revoked is None:
        raise click.UsageError("Give --user, --client or both.")
    message = f"Ended: {counted(revoked.codes, 'code')}, {counted(revoked.tokens, 'token')}."
    return Result(revoked._asdict(), messages=(message,))
