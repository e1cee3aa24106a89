"""When the secrets of a client were last used.

The secrets themselves stand in the client's row, which every token request reads.
"""

from sqlalchemy import delete, select

from database import upsert
from database.tables import table
from database.tenancy import own
from models import Client, ClientSecretUse, db

uses = table(ClientSecretUse)
AN_HOUR = 3600


def note_use(client_id: str, number: int, now: int) -> None:
    """Record when a secret was last used, once an hour for each secret.

    Nothing is stored for a client or a secret that is gone. Two SELECTs, and one statement that stores.
    """
    newest = db.session.scalar(
        select(Client.client_secret_number).where(own(Client), Client.client_id == client_id)
    )
    if newest is None or not newest - 1 <= number <= newest:
        return
    last = db.session.scalar(
        select(uses.c.last_used_at).where(own(uses), uses.c.client_id == client_id, uses.c.number == number)
    )
    if last is not None and last > now - AN_HOUR:
        return
    note = upsert(
        db.engine.dialect.name,
        uses,
        key=["client_id", "tenant_id", "number"],
        change=lambda new: {"last_used_at": new.last_used_at},
    )
    db.session.execute(note.values(client_id=client_id, number=number, last_used_at=now))


def last_uses(client_id: str) -> dict[int, int]:
    """Return when each secret of a client was last used, by the number of the secret."""
    found = db.session.execute(
        select(uses.c.number, uses.c.last_used_at).where(own(uses), uses.c.client_id == client_id)
    )
    return {row.number: row.last_used_at for row in found}


def forget_uses_before(client_id: str, number: int) -> None:
    """Delete what is recorded of a client's secrets with a smaller number than this."""
    db.session.execute(delete(uses).where(own(uses), uses.c.client_id == client_id, uses.c.number < number))
