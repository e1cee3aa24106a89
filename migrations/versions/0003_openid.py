"""OpenID Connect: what ID tokens need to know, signing keys, sessions that know their clients, notices of logout.

Browser sessions have another key from now on, and pending requests are sealed; those that are open end: people sign in once more.

Revision: 0003, after 0002.
"""

import secrets

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Digest = sa.LargeBinary(32).with_variant(sa.BINARY(32), "mysql", "mariadb")
Sealed = sa.LargeBinary().with_variant(mysql.LONGBLOB, "mariadb")


SCOPES = {
    "openid": "Know who you are",
    "address": "See your postal address",
    "phone": "See your phone number",
}


def upgrade() -> None:
    change_what_is_there()
    add_scopes()
    op.drop_table("authorization_ticket")
    create_tickets(sa.Column("sealed_parameters", Sealed, nullable=False), sa.Column("session_id", Id, nullable=True))
    op.drop_table("user_session")
    op.create_table(
        "user_session",
        sa.Column("id", Id, nullable=False),
        sa.Column("session_digest", Digest, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("auth_time", sa.BigInteger(), nullable=False),
        sa.Column("amr", sa.String(100), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("user_agent", sa.String(300), nullable=False),
        sa.Column("remote_addr", sa.String(45), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["end_user.id"], name="fk_user_session_user_id_end_user", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_user_session"),
        sa.UniqueConstraint("session_digest", name="uq_user_session_session_digest"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_user_session_user_id_created_at", "user_session", ["user_id", "created_at"])
    op.create_table(
        "client_session",
        sa.Column("sid", sa.String(22), nullable=False),
        sa.Column("session_id", Id, nullable=False),
        sa.Column("client_id", sa.String(255), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"], ["user_session.id"], name="fk_client_session_session_id_user_session", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["client_id"], ["client.client_id"], name="fk_client_session_client_id_client", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("sid", name="pk_client_session"),
        sa.UniqueConstraint("session_id", "client_id", name="uq_client_session_session_id_client_id"),
    )
    op.create_index("ix_client_session_client_id", "client_session", ["client_id"])
    op.create_table(
        "logout_notice",
        sa.Column("id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=True),
        sa.Column("client_id", sa.String(255), nullable=False),
        sa.Column("sub", sa.String(43), nullable=False),
        sa.Column("sid", sa.String(22), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("next_attempt_at", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("delivered_at", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.String(100), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["end_user.id"], name="fk_logout_notice_user_id_end_user", ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["client_id"], ["client.client_id"], name="fk_logout_notice_client_id_client", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_logout_notice"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_logout_notice_user_id_id", "logout_notice", ["user_id", "id"])
    op.create_index("ix_logout_notice_client_id", "logout_notice", ["client_id"])
    op.create_index("ix_logout_notice_next_attempt_at", "logout_notice", ["next_attempt_at"])
    op.create_table(
        "signing_key",
        sa.Column("kid", sa.String(43), nullable=False),
        sa.Column("alg", sa.String(10), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("public_jwk", sa.JSON(), nullable=False),
        sa.Column("sealed_private_key", Sealed, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("active_from", sa.BigInteger(), nullable=False),
        sa.Column("last_presented_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("kid", name="pk_signing_key"),
        sa.UniqueConstraint("alg", "generation", name="uq_signing_key_alg_generation"),
    )
    op.create_table(
        "spent_assertion",
        sa.Column("jti_digest", Digest, nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("jti_digest", name="pk_spent_assertion"),
    )
    op.create_index("ix_spent_assertion_expires_at", "spent_assertion", ["expires_at"])


def create_tickets(*columns: sa.Column) -> None:
    op.create_table(
        "authorization_ticket",
        sa.Column("ticket_digest", Digest, nullable=False),
        sa.Column("browser_digest", Digest, nullable=False),
        sa.Column("client_id", sa.String(255), nullable=False),
        *columns,
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"], ["client.client_id"], name="fk_authorization_ticket_client_id_client", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("ticket_digest", name="pk_authorization_ticket"),
    )
    for column in ("browser_digest", "client_id", "expires_at"):
        op.create_index(f"ix_authorization_ticket_{column}", "authorization_ticket", [column])


def change_what_is_there() -> None:
    """New columns of people are filled here and stay nullable: closing them would copy the table on SQLite, and its rows that
    refer to the old one would go with that."""
    op.add_column("client", sa.Column("sealed_client_secret", Sealed, nullable=True))
    op.add_column("authorization_code", sa.Column("sid", sa.String(22), nullable=True))
    op.add_column("authorization_code", sa.Column("sealed_openid", Sealed, nullable=True))
    op.add_column("token", sa.Column("sid", sa.String(22), nullable=True))
    op.add_column("token", sa.Column("openid", sa.JSON(), nullable=True))

    op.add_column("end_user", sa.Column("claims", sa.JSON(), nullable=True))
    op.add_column("end_user", sa.Column("updated_at", sa.BigInteger(), nullable=True))
    op.add_column("end_user", sa.Column("pairwise_secret", Digest, nullable=True))
    people = sa.table("end_user", sa.column("id", Id), sa.column("claims", sa.JSON()), sa.column("pairwise_secret", Digest))
    connection = op.get_bind()
    connection.execute(people.update().values(claims={}))
    for user_id in connection.scalars(sa.select(people.c.id)).all():
        secret = secrets.token_bytes(32)
        connection.execute(people.update().where(people.c.id == user_id).values(pairwise_secret=secret))


def add_scopes() -> None:
    """Those of OpenID Connect Core §5.4, but for the ones that an operator has described already."""
    scope = sa.table("scope", sa.column("name", sa.String), sa.column("description", sa.String))
    connection = op.get_bind()
    known = set(connection.scalars(sa.select(scope.c.name)))
    rows = [{"name": name, "description": text} for name, text in SCOPES.items() if name not in known]
    if rows:
        connection.execute(scope.insert(), rows)


def downgrade() -> None:
    for table in ("spent_assertion", "signing_key", "logout_notice", "client_session", "user_session", "authorization_ticket"):
        op.drop_table(table)
    create_tickets(sa.Column("parameters", sa.JSON(), nullable=False))
    op.create_table(
        "user_session",
        sa.Column("session_digest", Digest, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("user_agent", sa.String(300), nullable=False),
        sa.Column("remote_addr", sa.String(45), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["end_user.id"], name="fk_user_session_user_id_end_user", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("session_digest", name="pk_user_session"),
    )
    op.create_index("ix_user_session_user_id_created_at", "user_session", ["user_id", "created_at"])
    for table, columns in (
        ("end_user", ("claims", "updated_at", "pairwise_secret")),
        ("token", ("sid", "openid")),
        ("authorization_code", ("sid", "sealed_openid")),
        ("client", ("sealed_client_secret",)),
    ):
        for column in columns:
            op.drop_column(table, column)
