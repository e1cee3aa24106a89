"""Live tokens: found by a digest, marked when first used, ended. Replacing them is `my_oauth.save_token`, and
only that.

Who ends a person's tokens locks the person's row first (`store.users.lock`): without it a DELETE that meets a
refresh would miss the row that the refresh is about to insert.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Row, and_, bindparam, case, delete, func, not_, or_, select, update

from models import Client, ClientSession, Token, User, db, table
from protocol.scopes import OFFLINE_ACCESS, OPENID

tokens, people, clients = table(Token), table(User), table(Client)

# The client's columns decide for how long a repeat gets the same pair, whatever was done with it.
WITH_PERSON = (
    select(
        tokens,
        clients.c.token_endpoint_auth_method,
        clients.c.refresh_leeway,
        people.c.sub,
        people.c.name,
        people.c.email,
        people.c.email_verified_at,
        people.c.claims,
        people.c.created_at,
        people.c.updated_at,
        people.c.disabled_at,
    )
    .join_from(tokens, clients)
    .outerjoin(people, people.c.id == tokens.c.user_id)
)
BEARER = WITH_PERSON.where(tokens.c.access_token_digest == bindparam("access_token_digest"))
FAMILY_AND_PERSON = WITH_PERSON.where(tokens.c.family_digest == bindparam("family_digest"))
FAMILY = select(tokens).where(tokens.c.family_digest == bindparam("family_digest"))
OF_CODE = select(tokens.c.user_id, tokens.c.redirect_uri_digest, tokens.c.code_challenge).where(
    tokens.c.code_digest == bindparam("code_digest"), tokens.c.client_id == bindparam("client_id")
)
# The mark is set once in a token's life. Within the leeway a repeat still gets the same pair, so the seal
# stays until then.
MARK_USED = (
    update(tokens)
    .where(tokens.c.id == bindparam("token_id"), tokens.c.used_at.is_(None))
    .values(
        used_at=bindparam("now"),
        sealed_pair=case((tokens.c.issued_at > bindparam("leeway_start"), tokens.c.sealed_pair), else_=None),
    )
)


def find_bearer(access_token_digest: bytes) -> Row[Any] | None:
    """The token and, where it has one, its person."""
    return db.session.execute(BEARER, {"access_token_digest": access_token_digest}).one_or_none()


def find_family(family_digest: bytes) -> Row[Any] | None:
    """The one row of a family: whatever its refresh tokens were, past ones included, they lead here."""
    return db.session.execute(FAMILY, {"family_digest": family_digest}).one_or_none()


def find_family_and_person(family_digest: bytes) -> Row[Any] | None:
    return db.session.execute(FAMILY_AND_PERSON, {"family_digest": family_digest}).one_or_none()


def find_of_code(code_digest: bytes, client_id: str) -> Row[Any] | None:
    """What a spent code left behind, however often it was refreshed since."""
    return db.session.execute(OF_CODE, {"code_digest": code_digest, "client_id": client_id}).one_or_none()


def mark_used(token_id: int, now: int, leeway_start: int) -> None:
    """Note the first use of an access token.

    `leeway_start`: microseconds; rows issued before it lose their sealed pair.
    """
    db.session.execute(MARK_USED, {"token_id": token_id, "now": now, "leeway_start": leeway_start})


def note_presentation(token_id: int, now: int) -> None:
    """The current refresh token was presented and refused: whoever sent it has the pair, so it is never given
    out again.
    """
    statement = update(tokens).where(tokens.c.id == token_id)
    db.session.execute(statement.values(used_at=func.coalesce(tokens.c.used_at, now), sealed_pair=None))


def replace_access_token(token_id: int, **values: Any) -> None:
    """Another access token in the place of the one that a row holds, which is of no use from then on."""
    db.session.execute(update(tokens).where(tokens.c.id == token_id).values(values))


def revoke_family(family_digest: bytes) -> None:
    db.session.execute(delete(Token).where(Token.family_digest == family_digest))


def revoke_access_token(access_token_digest: bytes) -> None:
    """A token without a family: a machine's, or that of a client without refresh tokens."""
    db.session.execute(delete(Token).where(Token.access_token_digest == access_token_digest))


def revoke_of_code(code_digest: bytes) -> None:
    db.session.execute(delete(Token).where(Token.code_digest == code_digest))


def revoke_of_user(user_id: int, client_id: str | None = None) -> int:
    """All of a person's tokens, or those at one client. Returns how many."""
    condition = Token.user_id == user_id
    if client_id is not None:
        condition = and_(condition, Token.client_id == client_id)
    return len(db.session.execute(delete(Token).where(condition).returning(Token.id)).all())


def revoke_of_sids(user_id: int, sids: Collection[str]) -> int:
    """A person's tokens from sessions that have ended, but for those with `offline_access`. Returns how many.

    That is what a client asks this scope for: access when the person is not there (OpenID Connect Core §11).
    """
    words = " " + tokens.c.scope + " "
    ended = delete(tokens).where(
        tokens.c.user_id == user_id,
        tokens.c.sid.in_(sids),
        words.contains(f" {OPENID} "),
        not_(words.contains(f" {OFFLINE_ACCESS} ", autoescape=True)),
    )
    return len(db.session.execute(ended.returning(tokens.c.id)).all())


def revoke_of_other_sessions(user_id: int, session_id: int) -> None:
    """A person's tokens, but those that a client got by this session."""
    of_session = select(ClientSession.sid).where(ClientSession.session_id == session_id)
    is_other = or_(Token.sid.is_(None), Token.sid.not_in(of_session))
    db.session.execute(delete(Token).where(Token.user_id == user_id, is_other))


def revoke_of_client(client_id: str) -> int:
    """All tokens of a client, machine tokens included. Returns how many."""
    return len(
        db.session.execute(delete(Token).where(Token.client_id == client_id).returning(Token.id)).all()
    )


def users_with_tokens(client_id: str) -> list[int]:
    """The people who have tokens at a client, in the order in which to lock them."""
    statement = (
        select(Token.user_id).where(Token.client_id == client_id, Token.user_id.is_not(None)).distinct()
    )
    return sorted(user_id for user_id in db.session.scalars(statement) if user_id is not None)


def count_of_user(user_id: int) -> int:
    return db.session.scalar(select(func.count()).select_from(Token).where(Token.user_id == user_id)) or 0


def count() -> int:
    return db.session.scalar(select(func.count()).select_from(Token)) or 0


def access_token_digests(client_id: str, user_id: int | None) -> list[bytes]:
    """Of a person's tokens at a client; without a person, of the client's own."""
    statement = select(Token.access_token_digest).where(
        Token.client_id == client_id, Token.user_id == user_id
    )
    return list(db.session.scalars(statement))
