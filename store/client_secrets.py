"""When the secrets of a client were last in use.

The secrets themselves stand in the client's row, which the token path reads.
"""

from sqlalchemy import delete, select

from database import upsert
from models import Client, ClientSecretUse, db, table

uses = table(ClientSecretUse)
AN_HOUR = 3600


def note_use(client_id: str, number: int, now: int) -> None:
    """Once an hour for each secret, whichever process it was shown to; nothing of a client or a secret that
    is gone.
    """
    newest = db.session.scalar(select(Client.client_secret_number).where(Client.client_id == client_id))
    if newest is None or not newest - 1 <= number <= newest:
        return
    last = db.session.scalar(
        select(uses.c.last_used_at).where(uses.c.client_id == client_id, uses.c.number == number)
    )
    if last is not None and last > now - AN_HOUR:
        return
    note = upsert(
        db.engine.dialect.name,
        uses,
        key=["client_id", "number"],
        change=lambda new: {"last_used_at": new.last_used_at},
    )
    db.session.execute(note.values(client_id=client_id, number=number, last_used_at=now))


def last_uses(client_id: str) -> dict[int, int]:
    """By the number of the secret."""
    found = db.session.execute(
        select(uses.c.number, uses.c.last_used_at).where(uses.c.client_id == client_id)
    )
    return {row.number: row.last_used_at for row in found}


def forget_uses_before(client_id: str, number: int) -> None:
    db.session.execute(delete(uses).where(uses.c.client_id == client_id, uses.c.number < number))
