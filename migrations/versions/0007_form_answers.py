"""What forms were answered, for half a minute: a form that arrives twice does its work once.

Revision: 0007, after 0006.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import LONGBLOB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

Digest = sa.LargeBinary(32).with_variant(sa.BINARY(32), "mysql", "mariadb")
Sealed = sa.LargeBinary().with_variant(LONGBLOB, "mariadb")


def upgrade() -> None:
    op.create_table(
        "form_answer",
        sa.Column("form_digest", Digest, nullable=False),
        sa.Column("sealed_answer", Sealed, nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("form_digest", name=op.f("pk_form_answer")),
    )
    op.create_index(op.f("ix_form_answer_expires_at"), "form_answer", ["expires_at"])


def downgrade() -> None:
    op.drop_table("form_answer")
