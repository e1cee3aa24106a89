"""The first tables, and the two scopes that exist from the start.

Revision: 0001, after nothing.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Digest = sa.LargeBinary(32).with_variant(sa.BINARY(32), "mysql", "mariadb")
Sealed = sa.LargeBinary().with_variant(mysql.LONGBLOB, "mariadb")
LongText = sa.Text().with_variant(mysql.LONGTEXT, "mariadb")


def upgrade() -> None:
    op.create_table(
        "client",
        sa.Column("client_id", sa.String(length=255), nullable=False),
        sa.Column("client_name", sa.String(length=200), nullable=False),
        sa.Column("client_secret_digest", Digest, nullable=True),
        sa.Column("client_id_issued_at", sa.BigInteger(), nullable=False),
        sa.Column("token_endpoint_auth_method", sa.String(length=40), nullable=False),
        sa.Column("grant_types", sa.JSON(), nullable=False),
        sa.Column("redirect_uris", sa.JSON(), nullable=False),
        sa.Column("scope", LongText, nullable=False),
        sa.Column("is_resource_server", sa.Boolean(), nullable=False),
        sa.Column("require_pkce", sa.Boolean(), nullable=False),
        sa.Column("rotate_refresh_tokens", sa.Boolean(), nullable=False),
        sa.Column("max_sessions", sa.Integer(), nullable=True),
        sa.Column("access_token_lifetime", sa.Integer(), nullable=True),
        sa.Column("refresh_token_idle_lifetime", sa.Integer(), nullable=True),
        sa.Column("refresh_token_lifetime", sa.Integer(), nullable=True),
        sa.Column("extra_metadata", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_client")),
    )
    op.create_table(
        "end_user",
        sa.Column("id", Id, nullable=False),
        sa.Column("sub", sa.String(length=43), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=True),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("email_verified_at", sa.BigInteger(), nullable=True),
        sa.Column("disabled_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_end_user")),
        sa.UniqueConstraint("email", name=op.f("uq_end_user_email")),
        sa.UniqueConstraint("sub", name=op.f("uq_end_user_sub")),
        sqlite_autoincrement=True,
    )
    scope = op.create_table(
        "scope",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("description", sa.String(length=300), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_scope")),
    )
    op.create_table(
        "authorization_code",
        sa.Column("code_digest", Digest, nullable=False),
        sa.Column("client_id", sa.String(length=255), nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("redirect_uri", LongText, nullable=False),
        sa.Column("scope", LongText, nullable=False),
        sa.Column("code_challenge", sa.String(length=43), nullable=True),
        sa.Column("auth_time", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"], ["client.client_id"], name=op.f("fk_authorization_code_client_id_client"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["end_user.id"], name=op.f("fk_authorization_code_user_id_end_user"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("code_digest", name=op.f("pk_authorization_code")),
    )
    op.create_index(op.f("ix_authorization_code_client_id"), "authorization_code", ["client_id"])
    op.create_index(op.f("ix_authorization_code_expires_at"), "authorization_code", ["expires_at"])
    op.create_index(op.f("ix_authorization_code_user_id"), "authorization_code", ["user_id"])

    op.create_table(
        "authorization_ticket",
        sa.Column("ticket_digest", Digest, nullable=False),
        sa.Column("browser_digest", Digest, nullable=False),
        sa.Column("client_id", sa.String(length=255), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"],
            ["client.client_id"],
            name=op.f("fk_authorization_ticket_client_id_client"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("ticket_digest", name=op.f("pk_authorization_ticket")),
    )
    op.create_index(op.f("ix_authorization_ticket_browser_digest"), "authorization_ticket", ["browser_digest"])
    op.create_index(op.f("ix_authorization_ticket_client_id"), "authorization_ticket", ["client_id"])
    op.create_index(op.f("ix_authorization_ticket_expires_at"), "authorization_ticket", ["expires_at"])

    op.create_table(
        "client_origin",
        sa.Column("client_id", sa.String(length=255), nullable=False),
        sa.Column("origin", sa.String(length=300), nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"], ["client.client_id"], name=op.f("fk_client_origin_client_id_client"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("client_id", "origin", name=op.f("pk_client_origin")),
    )
    op.create_index(op.f("ix_client_origin_origin"), "client_origin", ["origin"])

    op.create_table(
        "consent",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("client_id", sa.String(length=255), nullable=False),
        sa.Column("scope", LongText, nullable=False),
        sa.Column("granted_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"], ["client.client_id"], name=op.f("fk_consent_client_id_client"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["end_user.id"], name=op.f("fk_consent_user_id_end_user"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "client_id", name=op.f("pk_consent")),
    )
    op.create_index(op.f("ix_consent_client_id"), "consent", ["client_id"])

    op.create_table(
        "token",
        sa.Column("id", Id, nullable=False),
        sa.Column("client_id", sa.String(length=255), nullable=False),
        sa.Column("user_id", Id, nullable=True),
        sa.Column("slot", sa.Integer(), nullable=True),
        sa.Column("scope", LongText, nullable=False),
        sa.Column("access_token_scope", LongText, nullable=False),
        sa.Column("access_token_digest", Digest, nullable=False),
        sa.Column("access_token_expires_at", sa.BigInteger(), nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.Column("auth_time", sa.BigInteger(), nullable=True),
        sa.Column("family_digest", Digest, nullable=True),
        sa.Column("refresh_token_digest", Digest, nullable=True),
        sa.Column("previous_refresh_token_digest", Digest, nullable=True),
        sa.Column("sealed_pair", Sealed, nullable=True),
        sa.Column("refresh_token_expires_at", sa.BigInteger(), nullable=True),
        sa.Column("family_expires_at", sa.BigInteger(), nullable=True),
        sa.Column("code_digest", Digest, nullable=True),
        sa.Column("redirect_uri_digest", Digest, nullable=True),
        sa.Column("code_challenge", sa.String(length=43), nullable=True),
        sa.CheckConstraint("(user_id IS NULL) = (slot IS NULL)", name=op.f("ck_token_slot_for_a_person")),
        sa.ForeignKeyConstraint(
            ["client_id"], ["client.client_id"], name=op.f("fk_token_client_id_client"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token")),
        sa.UniqueConstraint("access_token_digest", name=op.f("uq_token_access_token_digest")),
        sa.UniqueConstraint("client_id", "user_id", "slot", name=op.f("uq_token_client_id_user_id_slot")),
        sa.UniqueConstraint("code_digest", name=op.f("uq_token_code_digest")),
        sa.UniqueConstraint("family_digest", name=op.f("uq_token_family_digest")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_token_machine",
        "token",
        ["client_id", "access_token_expires_at"],
        sqlite_where=sa.text("user_id IS NULL"),
        postgresql_where=sa.text("user_id IS NULL"),
    )
    op.create_index(op.f("ix_token_user_id"), "token", ["user_id"])

    op.create_table(
        "user_session",
        sa.Column("session_digest", Digest, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("user_agent", sa.String(length=300), nullable=False),
        sa.Column("remote_addr", sa.String(length=45), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["end_user.id"], name=op.f("fk_user_session_user_id_end_user"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("session_digest", name=op.f("pk_user_session")),
    )
    op.create_index(op.f("ix_user_session_user_id_created_at"), "user_session", ["user_id", "created_at"])

    op.bulk_insert(
        scope,
        [
            {"name": "profile", "description": "See your name"},
            {"name": "email", "description": "See your email address"},
        ],
    )


def downgrade() -> None:
    for table in (
        "user_session",
        "token",
        "consent",
        "client_origin",
        "authorization_ticket",
        "authorization_code",
        "scope",
        "end_user",
        "client",
    ):
        op.drop_table(table)
