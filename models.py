"""Every table and every constraint.

Random values are stored as SHA-256 digests, chosen passwords as Argon2id, so a stolen copy of the database
signs nobody in. Instants are epoch seconds; only `Token.issued_at` is in microseconds, because it orders a
person's sign-ins at a client. Primary keys are never used twice (AUTOINCREMENT on SQLite): a row that is gone
must not be mistaken for its successor.
"""

from typing import Any, cast

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from crypto import credentials
from database.columns import Digest, Encrypted, Id, LongText
from protocol.registered_client import RegisteredClient

SUB_LENGTH = 43
SID_LENGTH = 22
CLIENT_ID_LENGTH = 255
ACR_LENGTH = 100


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


db = SQLAlchemy(model_class=Base, session_options={"autoflush": False})


class User(db.Model):  # type: ignore[name-defined]
    """A person (`end_user`).

    Busy counters stay out of this row: it is the lock that orders all changes to its tokens.
    """

    __tablename__ = "end_user"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    sub: Mapped[str] = mapped_column(String(SUB_LENGTH), unique=True)  # public, random, never the primary key
    email: Mapped[str] = mapped_column(String(254), unique=True)  # normalised, lower case
    name: Mapped[str] = mapped_column(String(200), default="")
    password_hash: Mapped[str | None] = mapped_column(String(255))
    is_admin: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[int] = mapped_column(BigInteger)
    email_verified_at: Mapped[int | None] = mapped_column(BigInteger)
    disabled_at: Mapped[int | None] = mapped_column(BigInteger)
    # when what clients are told of them last changed
    updated_at: Mapped[int | None] = mapped_column(BigInteger)
    # Always filled; nullable only because SQLite adds no other column to a table that is there.
    claims: Mapped[dict[str, Any]] = mapped_column(
        JSON, default=dict, nullable=True
    )  # OpenID members that nothing queries
    pairwise_secret: Mapped[bytes] = mapped_column(Digest, default=credentials.random_secret, nullable=True)


class Client(db.Model, RegisteredClient):  # type: ignore[name-defined]
    """A registered client (RFC 7591 §2 has the members).

    A lifetime of None means the server's setting, `NEVER` no end. `RegisteredClient` has the rules.
    """

    __tablename__ = "client"

    client_id: Mapped[str] = mapped_column(String(CLIENT_ID_LENGTH), primary_key=True)
    client_name: Mapped[str] = mapped_column(String(200))
    client_secret_digest: Mapped[bytes | None] = mapped_column(Digest)
    # for client_secret_jwt, whose key it is
    sealed_client_secret: Mapped[bytes | None] = mapped_column(Encrypted)
    client_id_issued_at: Mapped[int] = mapped_column(BigInteger)
    token_endpoint_auth_method: Mapped[str] = mapped_column(String(40))
    grant_types: Mapped[list[str]] = mapped_column(JSON)
    redirect_uris: Mapped[list[str]] = mapped_column(JSON)
    scope: Mapped[str] = mapped_column(LongText)
    is_resource_server: Mapped[bool] = mapped_column(Boolean, default=False)  # may introspect, gets no tokens
    require_pkce: Mapped[bool] = mapped_column(Boolean, default=True)
    rotate_refresh_tokens: Mapped[bool] = mapped_column(Boolean, default=True)
    max_sessions: Mapped[int | None] = mapped_column(Integer)
    access_token_lifetime: Mapped[int | None] = mapped_column(Integer)
    refresh_token_idle_lifetime: Mapped[int | None] = mapped_column(Integer)
    refresh_token_lifetime: Mapped[int | None] = mapped_column(Integer)
    refresh_leeway: Mapped[int | None] = mapped_column(Integer)  # of repeated refreshes; 0 is none
    refresh_retry_lifetime: Mapped[int | None] = mapped_column(Integer)
    client_secret_number: Mapped[int] = mapped_column(Integer, default=1, server_default=text("1"))
    client_secret_made_at: Mapped[int | None] = mapped_column(BigInteger)
    # good beside the other until it ends
    previous_secret_digest: Mapped[bytes | None] = mapped_column(Digest)
    sealed_previous_secret: Mapped[bytes | None] = mapped_column(Encrypted)
    previous_secret_made_at: Mapped[int | None] = mapped_column(BigInteger)
    previous_secret_ends_at: Mapped[int | None] = mapped_column(BigInteger)
    extra_metadata: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)  # what nothing queries


class ClientOrigin(db.Model):  # type: ignore[name-defined]
    """The web origins of a public client's redirect URIs: from these its pages may call us (CORS)."""

    __tablename__ = "client_origin"

    client_id: Mapped[str] = mapped_column(ForeignKey(Client.client_id, ondelete="CASCADE"), primary_key=True)
    origin: Mapped[str] = mapped_column(String(300), primary_key=True, index=True)


class ClientSecretUse(db.Model):  # type: ignore[name-defined]
    """When a secret of a client was last right, to the hour. Not in the client's row: whoever inserts a token
    waits for its lock.

    The two newest of each client are kept.
    """

    __tablename__ = "client_secret_use"

    client_id: Mapped[str] = mapped_column(ForeignKey(Client.client_id, ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    last_used_at: Mapped[int] = mapped_column(BigInteger)


class Scope(db.Model):  # type: ignore[name-defined]
    """A scope and what the consent page says of it."""

    __tablename__ = "scope"

    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    description: Mapped[str] = mapped_column(String(300))


class UserSession(db.Model):  # type: ignore[name-defined]
    """One browser that a person signed in with.

    The cookie holds the value whose digest is here; signing in again renews both.
    """

    __tablename__ = "user_session"
    __table_args__ = (Index(None, "user_id", "created_at"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    session_digest: Mapped[bytes] = mapped_column(Digest, unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"))
    created_at: Mapped[int] = mapped_column(BigInteger)
    auth_time: Mapped[int] = mapped_column(BigInteger)  # when the person last proved who they are, by
    amr: Mapped[str] = mapped_column(String(100))  # these methods, separated by blanks (RFC 8176)
    expires_at: Mapped[int] = mapped_column(BigInteger)
    user_agent: Mapped[str] = mapped_column(String(300), default="")
    remote_addr: Mapped[str] = mapped_column(String(45), default="")
    last_seen_at: Mapped[int | None] = mapped_column(BigInteger)  # None: not since this is written down
    # of what the browser is known by (`known_device.py`)
    device_digest: Mapped[bytes | None] = mapped_column(Digest)
    is_kept: Mapped[bool | None] = mapped_column(Boolean)  # whether it outlives the browser's end; None is no


class ClientSession(db.Model):  # type: ignore[name-defined]
    """A client that a person was sent back to from one of their sessions: the `sid` of its ID tokens
    (Back-Channel Logout §2.1).
    """

    __tablename__ = "client_session"
    __table_args__ = (UniqueConstraint("session_id", "client_id"),)

    sid: Mapped[str] = mapped_column(String(SID_LENGTH), primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey(UserSession.id, ondelete="CASCADE"))
    client_id: Mapped[str] = mapped_column(ForeignKey(Client.client_id, ondelete="CASCADE"), index=True)
    created_at: Mapped[int] = mapped_column(BigInteger)


class LogoutNotice(db.Model):  # type: ignore[name-defined]
    """A client that is to be told of a session's end, and what became of it (Back-Channel Logout §2.5).

    Stored in the transaction that ended the session; delivered afterwards. It stays as the receipt, the
    newest of each person.
    """

    __tablename__ = "logout_notice"
    __table_args__ = (Index(None, "user_id", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    # None: the person was removed, and the clients are told all the same.
    user_id: Mapped[int | None] = mapped_column(ForeignKey(User.id, ondelete="SET NULL"))
    client_id: Mapped[str] = mapped_column(ForeignKey(Client.client_id, ondelete="CASCADE"), index=True)
    sub: Mapped[str] = mapped_column(String(SUB_LENGTH))  # as this client knows the person
    sid: Mapped[str] = mapped_column(String(SID_LENGTH))
    created_at: Mapped[int] = mapped_column(BigInteger)
    next_attempt_at: Mapped[int | None] = mapped_column(BigInteger, index=True)  # None: there will be none
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    delivered_at: Mapped[int | None] = mapped_column(BigInteger)
    outcome: Mapped[str] = mapped_column(String(100), default="")  # of the last attempt, in words


class AuthorizationTicket(db.Model):  # type: ignore[name-defined]
    """A pending authorization request, under its own unguessable id and bound to the browser that
    brought it.
    """

    __tablename__ = "authorization_ticket"

    ticket_digest: Mapped[bytes] = mapped_column(Digest, primary_key=True)
    browser_digest: Mapped[bytes] = mapped_column(Digest, index=True)
    client_id: Mapped[str] = mapped_column(ForeignKey(Client.client_id, ondelete="CASCADE"), index=True)
    sealed_parameters: Mapped[bytes] = mapped_column(Encrypted)  # the ticket opens them
    # the session that was begun, renewed or chosen for this request
    session_id: Mapped[int | None] = mapped_column(Id)
    # microseconds: of a browser's requests the oldest go
    requested_at: Mapped[int | None] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)


class FormAnswer(db.Model):  # type: ignore[name-defined]
    """What a form was answered, for the case that the same browser sends the same form again at once."""

    __tablename__ = "form_answer"

    # of the browser and all that it sent
    form_digest: Mapped[bytes] = mapped_column(Digest, primary_key=True)
    sealed_answer: Mapped[bytes] = mapped_column(Encrypted)  # what was sent opens it
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)


class Consent(db.Model):  # type: ignore[name-defined]
    """What a person has allowed a client, remembered; asked again only when the client asks for more."""

    __tablename__ = "consent"

    user_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), primary_key=True)
    client_id: Mapped[str] = mapped_column(
        ForeignKey(Client.client_id, ondelete="CASCADE"), primary_key=True, index=True
    )
    scope: Mapped[str] = mapped_column(LongText)
    granted_at: Mapped[int] = mapped_column(BigInteger)


class AuthorizationCode(db.Model):  # type: ignore[name-defined]
    """An authorization code that waits to be spent (RFC 6749 §4.1.2).

    Spending deletes the row; the token remembers it.
    """

    __tablename__ = "authorization_code"

    code_digest: Mapped[bytes] = mapped_column(Digest, primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey(Client.client_id, ondelete="CASCADE"), index=True)
    user_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), index=True)
    redirect_uri: Mapped[str] = mapped_column(LongText)
    scope: Mapped[str] = mapped_column(LongText)
    code_challenge: Mapped[str | None] = mapped_column(String(43))
    auth_time: Mapped[int] = mapped_column(BigInteger)
    acr: Mapped[str | None] = mapped_column(String(ACR_LENGTH))  # how the person proved who they are
    sid: Mapped[str | None] = mapped_column(String(SID_LENGTH))
    # what ID tokens need to know; the code opens it
    sealed_openid: Mapped[bytes | None] = mapped_column(Encrypted)
    # refused exchanges so far
    failures: Mapped[int] = mapped_column(Integer, default=0, server_default=text("0"))
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)


class Token(db.Model):  # type: ignore[name-defined]
    """A live token. For a person a row is a *family*: one sign-in and all its refreshes, in one of the pair's
    slots.

    `UNIQUE (client_id, user_id, slot)` is the backstop of the rule "at most max_sessions rows for a person
    and a client": the lock on the person's row comes first, so it should never fire. A machine's token has
    neither person nor slot.
    There is no foreign key to `end_user`: whoever inserts holds that row's lock, and whoever removes a person
    takes it too.
    """

    __tablename__ = "token"
    __table_args__ = (
        UniqueConstraint("client_id", "user_id", "slot"),
        CheckConstraint("(user_id IS NULL) = (slot IS NULL)", name="slot_for_a_person"),
        Index(
            "ix_token_machine",
            "client_id",
            "access_token_expires_at",
            sqlite_where=text("user_id IS NULL"),
            postgresql_where=text("user_id IS NULL"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey(Client.client_id, ondelete="CASCADE"))
    user_id: Mapped[int | None] = mapped_column(Id, index=True)
    slot: Mapped[int | None] = mapped_column(Integer)
    scope: Mapped[str] = mapped_column(LongText)  # what was granted; a refresh may ask for a part of it
    access_token_scope: Mapped[str] = mapped_column(LongText)
    access_token_digest: Mapped[bytes] = mapped_column(Digest, unique=True)
    access_token_expires_at: Mapped[int] = mapped_column(BigInteger)
    issued_at: Mapped[int] = mapped_column(BigInteger)  # microseconds; of this pair, so a refresh renews it
    used_at: Mapped[int | None] = mapped_column(BigInteger)  # when the access token was first seen in use
    auth_time: Mapped[int | None] = mapped_column(BigInteger)  # when the person last gave a password
    acr: Mapped[str | None] = mapped_column(String(ACR_LENGTH))  # how they proved who they are
    sid: Mapped[str | None] = mapped_column(String(SID_LENGTH))  # of the session that it came from
    openid: Mapped[dict[str, Any] | None] = mapped_column(
        JSON(none_as_null=True)
    )  # what ID tokens and userinfo need to know

    # The family and its refresh tokens; all None where the client has none.
    family_digest: Mapped[bytes | None] = mapped_column(Digest, index=True)
    refresh_token_digest: Mapped[bytes | None] = mapped_column(Digest)
    previous_refresh_token_digest: Mapped[bytes | None] = mapped_column(Digest)
    sealed_pair: Mapped[bytes | None] = mapped_column(Encrypted)  # the pair, for whoever lost the answer
    refresh_token_expires_at: Mapped[int | None] = mapped_column(BigInteger)  # None: never
    family_expires_at: Mapped[int | None] = mapped_column(BigInteger)  # the absolute end; None: never

    # The authorization code that all began with: enough to know it when it comes again (RFC 6749 §4.1.2).
    code_digest: Mapped[bytes | None] = mapped_column(Digest, index=True)
    redirect_uri_digest: Mapped[bytes | None] = mapped_column(Digest)
    code_challenge: Mapped[str | None] = mapped_column(String(43))


class Throttle(db.Model):  # type: ignore[name-defined]
    """A leaky bucket of failures (`protocol/throttle.py`).

    An empty one needs no row: `expires_at` is when it will be empty.
    """

    __tablename__ = "throttle"

    bucket_digest: Mapped[bytes] = mapped_column(Digest, primary_key=True)
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)


class SigningKey(db.Model):  # type: ignore[name-defined]
    """A key that signs ID tokens and the like, from `active_from` until its successor does
    (`crypto/key_schedule.py`).
    """

    __tablename__ = "signing_key"
    __table_args__ = (UniqueConstraint("alg", "generation"),)

    kid: Mapped[str] = mapped_column(String(43), primary_key=True)
    alg: Mapped[str] = mapped_column(String(10))
    # of its alg: two nodes that make the next one at once make one
    generation: Mapped[int] = mapped_column(Integer)
    public_jwk: Mapped[dict[str, Any]] = mapped_column(JSON)
    sealed_private_key: Mapped[bytes] = mapped_column(Encrypted)
    created_at: Mapped[int] = mapped_column(BigInteger)
    active_from: Mapped[int] = mapped_column(BigInteger)
    # when something it signed was last shown to us
    last_presented_at: Mapped[int | None] = mapped_column(BigInteger)


class SpentAssertion(db.Model):  # type: ignore[name-defined]
    """The `jti` of a client assertion that was used: it is good once (RFC 7523 §3)."""

    __tablename__ = "spent_assertion"

    jti_digest: Mapped[bytes] = mapped_column(Digest, primary_key=True)  # of the client and its jti
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)


def table(model: type[Any]) -> Table:
    """The table of a model, for the Core statements of the token path: they skip the ORM's work on each
    execution.
    """
    return cast(Table, model.__table__)
