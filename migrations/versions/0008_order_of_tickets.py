"""Which of a browser's pending requests are the oldest, to the microsecond: tabs are opened at once.

Revision: 0008, after 0007.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("authorization_ticket", sa.Column("requested_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("authorization_ticket", "requested_at")
