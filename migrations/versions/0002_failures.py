"""Failures are counted: throttles, and the refused exchanges of a code.

Revision: 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

Digest = sa.LargeBinary(32).with_variant(sa.BINARY(32), "mysql", "mariadb")


def upgrade() -> None:
    op.create_table(
        "throttle",
        sa.Column("bucket_digest", Digest, nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bucket_digest", name=op.f("pk_throttle")),
    )
    op.create_index(op.f("ix_throttle_expires_at"), "throttle", ["expires_at"])
    op.add_column(
        "authorization_code", sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False)
    )


def downgrade() -> None:
    op.drop_column("authorization_code", "failures")
    op.drop_table("throttle")
