"""Sessions say when they were last used, on which device, and whether they outlive the browser's end.

Sessions that are there live on as they were until they are used; from then on they end 12 hours after their last use.

Revision: 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

Digest = sa.LargeBinary(32).with_variant(sa.BINARY(32), "mysql", "mariadb")
COLUMNS = ("last_seen_at", "device_digest", "is_kept")


def upgrade() -> None:
    if op.get_bind().dialect.name == "mariadb":  # in one statement: MariaDB can undo no other
        op.execute(
            "ALTER TABLE user_session ADD COLUMN last_seen_at BIGINT, ADD COLUMN device_digest BINARY(32),"
            " ADD COLUMN is_kept BOOL"
        )
        return
    op.add_column("user_session", sa.Column("last_seen_at", sa.BigInteger(), nullable=True))
    op.add_column("user_session", sa.Column("device_digest", Digest, nullable=True))
    op.add_column("user_session", sa.Column("is_kept", sa.Boolean(), nullable=True))


def downgrade() -> None:
    if op.get_bind().dialect.name == "mariadb":
        op.execute(f"ALTER TABLE user_session {', '.join(f'DROP COLUMN {name}' for name in COLUMNS)}")
        return
    for name in COLUMNS:
        op.drop_column("user_session", name)
