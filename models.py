"""Every table and every constraint.

Random values are stored as SHA-256 digests, chosen passwords as Argon2id, so a stolen copy of the database
signs nobody in. Columns named `sealed_…` are encrypted. Instants are epoch seconds; only `Token.issued_at` is
in microseconds, because it orders the sign-ins of a user at a client. Primary keys are never used twice
(AUTOINCREMENT on SQLite): a row that is gone must not be mistaken for its successor.
"""

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Integer,
    String,
    UniqueConstraint,
    event,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from crypto import credentials
from crypto.json_values import JsonObject
from database.columns import Acr, ClientId, Digest, Encrypted, Id, LongText, Sid, Sub, TenantName
from database.session import Session
from database.tables import (
    NUMBERED,
    Base,
    OfTenant,
    OfTenantByKey,
    add_home,
    index,
    key,
    of_client,
    of_session,
    of_tenant,
    of_user,
    of_user_alone,
    partial_index,
    table,
    unique,
)
from protocol.registered_client import RegisteredClient
from protocol.typed_text import NAME_LENGTH

db = SQLAlchemy(model_class=Base, session_options={"autoflush": False, "class_": Session})


class Tenant(db.Model):  # type: ignore[name-defined]
    """An issuer with its own users, clients, scopes, keys and sessions. Row 1 is the server's own, `home`."""

    __tablename__ = "tenant"
    __table_args__ = (NUMBERED,)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(TenantName, unique=True)
    issuer: Mapped[str | None] = mapped_column(String(300), unique=True)  # None: a path at home's origin
    settings: Mapped[JsonObject] = mapped_column(JSON, default=dict)
    branding: Mapped[JsonObject] = mapped_column(JSON, default=dict)
    created_at: Mapped[int] = mapped_column(BigInteger)
    disabled_at: Mapped[int | None] = mapped_column(BigInteger)


class User(OfTenant, db.Model):  # type: ignore[name-defined]
    """A user (`end_user`).

    Counters that change often stay out of this row: its lock orders all changes to the user's tokens.
    """

    __tablename__ = "end_user"
    __table_args__ = (of_tenant(), unique("id"), unique("sub"), unique("email"), NUMBERED)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    sub: Mapped[str] = mapped_column(Sub)  # public, random, never the primary key
    email: Mapped[str] = mapped_column(String(254))  # normalised, lower case
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), default="")
    password_hash: Mapped[str | None] = mapped_column(String(255))
    is_admin: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[int] = mapped_column(BigInteger)
    email_verified_at: Mapped[int | None] = mapped_column(BigInteger)
    disabled_at: Mapped[int | None] = mapped_column(BigInteger)
    updated_at: Mapped[int | None] = mapped_column(BigInteger)  # when a claim that clients get last changed
    # OpenID Connect claims that no statement searches for. Always filled: these two columns are nullable only
    # because SQLite adds no other kind of column to an existing table.
    claims: Mapped[JsonObject] = mapped_column(JSON, default=dict, nullable=True)
    pairwise_secret: Mapped[bytes] = mapped_column(Digest, default=credentials.random_secret, nullable=True)


class Client(OfTenantByKey, db.Model, RegisteredClient):  # type: ignore[name-defined]
    """A registered client (RFC 7591 §2 has the members).

    A lifetime of None means the server's setting, `NEVER` no end. `RegisteredClient` has the rules.
    """

    __tablename__ = "client"
    __table_args__ = (of_tenant(), key("client_id"))

    client_id: Mapped[str] = mapped_column(ClientId, primary_key=True)
    client_name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    client_secret_digest: Mapped[bytes | None] = mapped_column(Digest)
    # For client_secret_jwt, whose key is the secret itself.
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
    # The secret before is good too, until it ends.
    previous_secret_digest: Mapped[bytes | None] = mapped_column(Digest)
    sealed_previous_secret: Mapped[bytes | None] = mapped_column(Encrypted)
    previous_secret_made_at: Mapped[int | None] = mapped_column(BigInteger)
    previous_secret_ends_at: Mapped[int | None] = mapped_column(BigInteger)
    extra_metadata: Mapped[JsonObject] = mapped_column(JSON, default=dict)  # no statement searches in it


class ClientOrigin(OfTenantByKey, db.Model):  # type: ignore[name-defined]
    """The web origins of a public client's redirect URIs: its pages may call us from these (CORS)."""

    __tablename__ = "client_origin"
    __table_args__ = (of_client(), key("client_id", "origin"), index("origin"))

    client_id: Mapped[str] = mapped_column(ClientId, primary_key=True)
    origin: Mapped[str] = mapped_column(String(300), primary_key=True)


class ClientSecretUse(OfTenantByKey, db.Model):  # type: ignore[name-defined]
    """When a secret of a client was last used, to the hour; the two newest secrets of each client are kept.

    It is not in the client's row, whose lock an INSERT of a token waits for. An older version stores it on
    MariaDB alone: the key that it names would keep two tenants from having clients of one name.
    """

    __tablename__ = "client_secret_use"
    __table_args__ = (of_client(), key("client_id", "number"))

    client_id: Mapped[str] = mapped_column(ClientId, primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    last_used_at: Mapped[int] = mapped_column(BigInteger)


class Scope(OfTenantByKey, db.Model):  # type: ignore[name-defined]
    """A scope and what the consent page says of it."""

    __tablename__ = "scope"
    __table_args__ = (of_tenant(), key("name"))

    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    description: Mapped[str] = mapped_column(String(300))


class UserSession(OfTenant, db.Model):  # type: ignore[name-defined]
    """A browser that a user signed in with.

    The cookie holds the value whose digest is here; signing in again renews both.
    """

    __tablename__ = "user_session"
    __table_args__ = (of_user(), unique("id"), index("user_id", "created_at"), NUMBERED)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    session_digest: Mapped[bytes] = mapped_column(Digest, unique=True)
    user_id: Mapped[int] = mapped_column(Id)
    created_at: Mapped[int] = mapped_column(BigInteger)
    auth_time: Mapped[int] = mapped_column(BigInteger)  # when the user last signed in
    amr: Mapped[str] = mapped_column(String(100))  # how: values of RFC 8176, separated by blanks
    expires_at: Mapped[int] = mapped_column(BigInteger)
    user_agent: Mapped[str] = mapped_column(String(300), default="")
    remote_addr: Mapped[str] = mapped_column(String(45), default="")
    last_seen_at: Mapped[int | None] = mapped_column(BigInteger)  # None: not since the column exists
    # Of the device cookie (`crypto/device_cookie.py`).
    device_digest: Mapped[bytes | None] = mapped_column(Digest)
    is_kept: Mapped[bool | None] = mapped_column(Boolean)  # whether it outlives the browser's end; None is no


class ClientSession(OfTenant, db.Model):  # type: ignore[name-defined]
    """A client in a session of a user: the `sid` of its ID tokens (Back-Channel Logout §2.1)."""

    __tablename__ = "client_session"
    __table_args__ = (
        of_session(),
        of_client(),
        UniqueConstraint("session_id", "client_id"),  # sessions of two tenants never have the same id
        index("session_id"),
        index("client_id"),
    )

    sid: Mapped[str] = mapped_column(Sid, primary_key=True)
    session_id: Mapped[int] = mapped_column(Id)
    client_id: Mapped[str] = mapped_column(ClientId)
    created_at: Mapped[int] = mapped_column(BigInteger)


class LogoutNotice(OfTenant, db.Model):  # type: ignore[name-defined]
    """A notice to a client that a session has ended, and what became of it (Back-Channel Logout §2.5).

    It is stored in the transaction that ends the session, and delivered afterwards. It stays as a receipt,
    the newest of each user.
    """

    __tablename__ = "logout_notice"
    __table_args__ = (
        of_user_alone(),
        of_user(ondelete=None),  # SET NULL would clear the tenant too: who removes a user does it first
        of_client(),
        index("user_id", "id"),
        index("client_id"),
        NUMBERED,
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    user_id: Mapped[int | None] = mapped_column(Id)  # None: removed; the clients are notified all the same
    client_id: Mapped[str] = mapped_column(ClientId)
    sub: Mapped[str] = mapped_column(Sub)  # as this client knows the user
    sid: Mapped[str] = mapped_column(Sid)
    created_at: Mapped[int] = mapped_column(BigInteger)
    next_attempt_at: Mapped[int | None] = mapped_column(BigInteger, index=True)  # None: there will be none
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    delivered_at: Mapped[int | None] = mapped_column(BigInteger)
    outcome: Mapped[str] = mapped_column(String(100), default="")  # of the last attempt, in words


class AuthorizationTicket(OfTenant, db.Model):  # type: ignore[name-defined]
    """A pending authorization request, under its own random id and bound to the browser that sent it."""

    __tablename__ = "authorization_ticket"
    __table_args__ = (of_client(), index("client_id"), index("browser_digest"))

    ticket_digest: Mapped[bytes] = mapped_column(Digest, primary_key=True)
    browser_digest: Mapped[bytes] = mapped_column(Digest)
    client_id: Mapped[str] = mapped_column(ClientId)
    sealed_parameters: Mapped[bytes] = mapped_column(Encrypted)  # decrypted with the ticket
    # The session that was begun, renewed or chosen for this request.
    session_id: Mapped[int | None] = mapped_column(Id)
    # Microseconds: of a browser's requests the oldest are deleted.
    requested_at: Mapped[int | None] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)


class FormAnswer(OfTenant, db.Model):  # type: ignore[name-defined]
    """The answer to a form, for a browser that sends the same form twice."""

    __tablename__ = "form_answer"
    __table_args__ = (of_tenant(),)

    form_digest: Mapped[bytes] = mapped_column(Digest, primary_key=True)  # of the browser and what it sent
    sealed_answer: Mapped[bytes] = mapped_column(Encrypted)  # decrypted with what was sent
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)


class Consent(OfTenantByKey, db.Model):  # type: ignore[name-defined]
    """What a user has allowed a client; the user is asked again only when the client asks for more."""

    __tablename__ = "consent"
    __table_args__ = (of_user(), of_client(), key("user_id", "client_id"), index("client_id"))

    user_id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    client_id: Mapped[str] = mapped_column(ClientId, primary_key=True)
    scope: Mapped[str] = mapped_column(LongText)
    granted_at: Mapped[int] = mapped_column(BigInteger)


class AuthorizationCode(OfTenant, db.Model):  # type: ignore[name-defined]
    """An authorization code that is not spent yet (RFC 6749 §4.1.2).

    Spending it deletes the row; the token row remembers the code.
    """

    __tablename__ = "authorization_code"
    __table_args__ = (of_client(), of_user(), index("client_id"), index("user_id"))

    code_digest: Mapped[bytes] = mapped_column(Digest, primary_key=True)
    client_id: Mapped[str] = mapped_column(ClientId)
    user_id: Mapped[int] = mapped_column(Id)
    redirect_uri: Mapped[str] = mapped_column(LongText)
    scope: Mapped[str] = mapped_column(LongText)
    code_challenge: Mapped[str | None] = mapped_column(String(43))
    auth_time: Mapped[int] = mapped_column(BigInteger)
    acr: Mapped[str | None] = mapped_column(Acr)  # how the user signed in
    sid: Mapped[str | None] = mapped_column(Sid)
    sealed_openid: Mapped[bytes | None] = mapped_column(Encrypted)  # for ID tokens; decrypted with the code
    failures: Mapped[int] = mapped_column(Integer, default=0, server_default=text("0"))  # refused exchanges
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)


class Token(OfTenant, db.Model):  # type: ignore[name-defined]
    """A live token. For a user a row is a *family*: one sign-in and all its refreshes.

    A pair of user and client has `max_sessions` slots, and each row takes one. `UNIQUE (client_id, tenant_id,
    user_id, slot)` is the last line of defence: the lock on the user's row comes first, so the key should
    never be violated. A client's own token has neither user nor slot. There is no foreign key to `end_user`:
    who inserts holds that row's lock, and who deletes a user takes it too.
    """

    __tablename__ = "token"
    __table_args__ = (
        of_client(),
        unique("client_id", "user_id", "slot"),
        index("user_id"),
        index("family_digest"),
        index("code_digest", "client_id"),
        CheckConstraint("(user_id IS NULL) = (slot IS NULL)", name="slot_for_a_person"),
        partial_index("ix_token_machine", "user_id IS NULL", "client_id", "access_token_expires_at"),
        NUMBERED,
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    client_id: Mapped[str] = mapped_column(ClientId)
    user_id: Mapped[int | None] = mapped_column(Id)
    slot: Mapped[int | None] = mapped_column(Integer)
    scope: Mapped[str] = mapped_column(LongText)  # what was granted; a refresh may ask for a part of it
    access_token_scope: Mapped[str] = mapped_column(LongText)
    access_token_digest: Mapped[bytes] = mapped_column(Digest, unique=True)
    access_token_expires_at: Mapped[int] = mapped_column(BigInteger)
    issued_at: Mapped[int] = mapped_column(BigInteger)  # microseconds; a refresh renews it
    used_at: Mapped[int | None] = mapped_column(BigInteger)  # when the access token was first seen in use
    auth_time: Mapped[int | None] = mapped_column(BigInteger)  # when the user last signed in
    acr: Mapped[str | None] = mapped_column(Acr)  # how the user signed in
    sid: Mapped[str | None] = mapped_column(Sid)  # of the session that it came from
    # What ID tokens and userinfo need of the authorization request.
    openid: Mapped[JsonObject | None] = mapped_column(JSON(none_as_null=True))

    # The family and its refresh tokens; all None where the client has none.
    family_digest: Mapped[bytes | None] = mapped_column(Digest)
    refresh_token_digest: Mapped[bytes | None] = mapped_column(Digest)
    previous_refresh_token_digest: Mapped[bytes | None] = mapped_column(Digest)
    sealed_pair: Mapped[bytes | None] = mapped_column(Encrypted)  # the response, for a client that lost it
    refresh_token_expires_at: Mapped[int | None] = mapped_column(BigInteger)  # None: never
    family_expires_at: Mapped[int | None] = mapped_column(BigInteger)  # the absolute end; None: never

    # Of the authorization code of the sign-in: enough to notice a replay (RFC 6749 §4.1.2).
    code_digest: Mapped[bytes | None] = mapped_column(Digest)
    redirect_uri_digest: Mapped[bytes | None] = mapped_column(Digest)
    code_challenge: Mapped[str | None] = mapped_column(String(43))


class Throttle(OfTenant, db.Model):  # type: ignore[name-defined]
    """A leaky bucket of failures (`protocol/throttle.py`).

    An empty one needs no row: `expires_at` is when it will be empty.
    """

    __tablename__ = "throttle"
    __table_args__ = (of_tenant(),)

    bucket_digest: Mapped[bytes] = mapped_column(Digest, primary_key=True)
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)


class SigningKey(OfTenant, db.Model):  # type: ignore[name-defined]
    """A key that signs ID tokens and other JWTs, until its successor does (`crypto/key_schedule.py`)."""

    __tablename__ = "signing_key"
    __table_args__ = (of_tenant(), UniqueConstraint("tenant_id", "alg", "generation"))

    kid: Mapped[str] = mapped_column(String(43), primary_key=True)
    alg: Mapped[str] = mapped_column(String(10))
    # Of its alg; the unique key lets two nodes that make the next one at once make only one.
    generation: Mapped[int] = mapped_column(Integer)
    public_jwk: Mapped[JsonObject] = mapped_column(JSON)
    sealed_private_key: Mapped[bytes] = mapped_column(Encrypted)
    created_at: Mapped[int] = mapped_column(BigInteger)
    active_from: Mapped[int] = mapped_column(BigInteger)
    # When something that it signed was last presented to this server.
    last_presented_at: Mapped[int | None] = mapped_column(BigInteger)


class SpentAssertion(OfTenant, db.Model):  # type: ignore[name-defined]
    """The `jti` of a client assertion that was used: it is good once (RFC 7523 §3)."""

    __tablename__ = "spent_assertion"
    __table_args__ = (of_tenant(),)

    jti_digest: Mapped[bytes] = mapped_column(Digest, primary_key=True)  # of the client and its jti
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)


event.listen(table(Tenant), "after_create", add_home)
