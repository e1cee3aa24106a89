"""A token's family and code have plain indexes: what a refresh carries on is no unique key.

On MariaDB an INSERT beside the row of the same unique key that was deleted a moment ago locks the next row of that key too. With
one such key refreshes of different people queue there; with several, each in another order, they deadlock.

Revision: 0004, after 0003.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

COLUMNS = ("code_digest", "family_digest")


def upgrade() -> None:
    with changed_token() as token:
        for column in COLUMNS:
            token.drop_constraint(f"uq_token_{column}", type_="unique")
            token.create_index(f"ix_token_{column}", [column])


def downgrade() -> None:
    with changed_token() as token:
        for column in COLUMNS:
            token.drop_index(f"ix_token_{column}")
            token.create_unique_constraint(f"uq_token_{column}", [column])


def changed_token():
    """SQLite copies the table for it. Nothing refers to its rows."""
    return op.batch_alter_table("token", table_kwargs={"sqlite_autoincrement": True})
