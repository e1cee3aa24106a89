"""`flask tokens …`: ending tokens, and the codes that would become tokens, from the shell (the operator's RFC
7009).
"""

import click

import store.codes
import store.tokens
from commands.lookup import find_client, lock_user, lock_users_of
from commands.output import CommandGroup, Result, counted

tokens = CommandGroup("tokens", help="Live tokens.")


@tokens.command("revoke")
@click.option("--user", "email", metavar="EMAIL", help="The tokens of this person.")
@click.option(
    "--client", "client_id", metavar="ID", help="The tokens of this client, those of machines included."
)
def revoke(email: str | None, client_id: str | None) -> Result:
    """End tokens and pending codes: of a person, of a client, or of a person at a client."""
    if email is None and client_id is None:
        raise click.UsageError("Give --user, --client or both.")
    if client_id is not None:
        client_id = find_client(client_id).client_id
    if email is not None:
        user_id = lock_user(email).id
        codes = store.codes.delete_pending(user_id, client_id)
        ended = store.tokens.revoke_of_user(user_id, client_id)
    elif client_id is not None:
        lock_users_of(client_id)
        codes = store.codes.delete_pending(client_id=client_id)
        ended = store.tokens.revoke_of_client(client_id)
    message = f"Ended: {counted(codes, 'code')}, {counted(ended, 'token')}."
    return Result({"codes": codes, "tokens": ended}, messages=(message,))
