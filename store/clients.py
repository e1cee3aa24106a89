"""Registered clients."""

from collections.abc import Iterable

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.orm.util import identity_key

from models import Client, ClientOrigin, Scope, Token, db
from protocol import redirect_uris
from protocol.parameters import VISIBLE

FIND = select(Client).where(Client.client_id == bindparam("client_id"))


def find(client_id: str) -> Client | None:
    """One SELECT, and none when this request has asked before. `Session.get` would build its statement anew
    each time.

    client_id: as a stranger wrote it. What is none by its syntax nobody has, and PostgreSQL takes no NUL to
    look for.
    """
    if not VISIBLE.fullmatch(client_id):
        return None
    known = db.session().identity_map.get(identity_key(Client, client_id))
    return known or db.session.scalars(FIND, {"client_id": client_id}).one_or_none()


def lock(client_id: str) -> Client | None:
    """The client as it is now, for a change of its registration; other changes wait, tokens that refer to it
    do not.
    """
    statement = select(Client).where(Client.client_id == client_id).with_for_update(key_share=True)
    return db.session.scalar(statement.execution_options(populate_existing=True))


def all_by_name() -> list[Client]:
    return list(db.session.scalars(select(Client).order_by(Client.client_name, Client.client_id)))


def add(client: Client) -> None:
    db.session.add(client)
    db.session.flush()
    set_origins(client)


def set_origins(client: Client) -> None:
    """Bring the origins of a public client in line with its redirect URIs; any other client has none."""
    db.session.execute(delete(ClientOrigin).where(ClientOrigin.client_id == client.client_id))
    if client.is_public:
        origins = {redirect_uris.origin(uri) for uri in client.redirect_uris} - {None}
        db.session.add_all(
            ClientOrigin(client_id=client.client_id, origin=origin)
            for origin in sorted(filter(None, origins))
        )
    db.session.flush()


def is_origin_of_public_client(origin: str) -> bool:
    return (
        db.session.scalar(select(ClientOrigin.origin).where(ClientOrigin.origin == origin).limit(1))
        is not None
    )


def remove(client: Client) -> None:
    """The client with its tokens, codes, tickets and consents (they cascade)."""
    db.session.execute(delete(Client).where(Client.client_id == client.client_id))


def count_tokens(client_id: str) -> int:
    return db.session.scalar(select(func.count()).select_from(Token).where(Token.client_id == client_id)) or 0


def with_scope(name: str) -> list[Client]:
    """Clients that are registered for a scope."""
    return [client for client in all_by_name() if name in client.scope.split()]


def unknown_scopes(names: Iterable[str]) -> list[str]:
    """Those of `names` that no scope row describes, in order."""
    wanted = list(names)
    known = set(db.session.scalars(select(Scope.name).where(Scope.name.in_(wanted))))
    return [name for name in wanted if name not in known]
