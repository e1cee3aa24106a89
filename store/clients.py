"""Registered clients."""

from collections.abc import Iterable, Mapping
from typing import Never

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.orm.util import identity_key

from database.tables import table
from database.tenancy import current_tenant, own
from models import Client, ClientOrigin, Scope, Token, db
from protocol import redirect_uris
from protocol.parameters import VISIBLE
from protocol.registered_client import RegisteredClient

clients = table(Client)
FIND = select(Client).where(own(Client), Client.client_id == bindparam("client_id"))
FIND_COLUMNS = select(clients).where(own(clients), clients.c.client_id == bindparam("client_id"))


class ReadOnlyClient(RegisteredClient):
    """A client as its row was when it was read. It belongs to no session, and cannot be changed."""

    def __init__(self, columns: Mapping[str, object]) -> None:
        self.__dict__.update(columns)

    def __setattr__(self, name: str, value: object) -> Never:
        raise AttributeError(f"{name} cannot be changed here: lock the client's row")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReadOnlyClient) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


def find(client_id: str) -> Client | None:
    """Return a client, or None. One SELECT, and none when this request has asked before.

    client_id: not checked yet. A text that cannot be a client_id finds nothing, and is not sent: PostgreSQL
    takes no NUL. `Session.get` would build its statement anew each time.
    """
    if not VISIBLE.fullmatch(client_id):
        return None
    known = db.session().identity_map.get(identity_key(Client, (current_tenant(), client_id)))
    return known or db.session.scalars(FIND, {"client_id": client_id}).one_or_none()


def find_read_only(client_id: str) -> ReadOnlyClient | None:
    """Return a client as it is now, for readers alone; or None. One SELECT. client_id: as in `find`."""
    if not VISIBLE.fullmatch(client_id):
        return None
    row = db.session.execute(FIND_COLUMNS, {"client_id": client_id}).mappings().one_or_none()
    return None if row is None else ReadOnlyClient({**row})


def lock(client_id: str) -> Client | None:
    """Lock a client for a change of its registration, and return it as it is now, or None."""
    statement = (
        select(Client).where(own(Client), Client.client_id == client_id).with_for_update(key_share=True)
    )
    return db.session.scalar(statement.execution_options(populate_existing=True))


def all_by_name() -> list[Client]:
    """Return all clients, by name."""
    return list(
        db.session.scalars(select(Client).where(own(Client)).order_by(Client.client_name, Client.client_id))
    )


def add(client: Client) -> None:
    """Store a new client with its origins."""
    db.session.add(client)
    db.session.flush()
    set_origins(client)


def set_origins(client: Client) -> None:
    """Bring the origins of a public client in line with its redirect URIs; any other client has none."""
    db.session.execute(
        delete(ClientOrigin).where(own(ClientOrigin), ClientOrigin.client_id == client.client_id)
    )
    if client.is_public:
        origins = {redirect_uris.origin(uri) for uri in client.redirect_uris} - {None}
        db.session.add_all(
            ClientOrigin(client_id=client.client_id, origin=origin)
            for origin in sorted(filter(None, origins))
        )
    db.session.flush()


def is_origin_of_public_client(origin: str) -> bool:
    """Return whether a public client has this origin. One SELECT."""
    return (
        db.session.scalar(
            select(ClientOrigin.origin).where(own(ClientOrigin), ClientOrigin.origin == origin).limit(1)
        )
        is not None
    )


def remove(client: Client) -> None:
    """Delete a client with its tokens, codes, tickets and consents (they cascade)."""
    db.session.execute(delete(Client).where(own(Client), Client.client_id == client.client_id))


def count_tokens(client_id: str) -> int:
    """Return how many token rows a client has."""
    return (
        db.session.scalar(
            select(func.count()).select_from(Token).where(own(Token), Token.client_id == client_id)
        )
        or 0
    )


def with_scope(name: str) -> list[Client]:
    """Return the clients that are registered for a scope."""
    return [client for client in all_by_name() if name in client.scope.split()]


def unknown_scopes(names: Iterable[str]) -> list[str]:
    """Return those of `names` that have no row, in their order."""
    wanted = list(names)
    known = set(db.session.scalars(select(Scope.name).where(own(Scope), Scope.name.in_(wanted))))
    return [name for name in wanted if name not in known]
