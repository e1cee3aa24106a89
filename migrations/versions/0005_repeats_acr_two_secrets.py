"""A client's own leeway, the `acr` of codes and tokens, a second secret of a client, and the scope `groups`.

Nothing is filled in: a code or token from before has no `acr`, and a client has the secret that it had. The version before goes on:
it knows nothing of these columns, and each may stay empty.

Revision: 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

Digest = sa.LargeBinary(32).with_variant(sa.BINARY(32), "mysql", "mariadb")
Sealed = sa.LargeBinary().with_variant(mysql.LONGBLOB, "mariadb")

GROUPS = {"name": "groups", "description": "See which groups you are in"}


def new_columns() -> dict[str, list[sa.Column]]:
    return {
        "client": [
            sa.Column("refresh_leeway", sa.Integer(), nullable=True),
            sa.Column("refresh_retry_lifetime", sa.Integer(), nullable=True),
            sa.Column("client_secret_number", sa.Integer(), server_default=sa.text("1"), nullable=False),
            sa.Column("client_secret_made_at", sa.BigInteger(), nullable=True),
            sa.Column("previous_secret_digest", Digest, nullable=True),
            sa.Column("sealed_previous_secret", Sealed, nullable=True),
            sa.Column("previous_secret_made_at", sa.BigInteger(), nullable=True),
            sa.Column("previous_secret_ends_at", sa.BigInteger(), nullable=True),
        ],
        "authorization_code": [sa.Column("acr", sa.String(100), nullable=True)],
        "token": [sa.Column("acr", sa.String(100), nullable=True)],
    }


def upgrade() -> None:
    """MariaDB undoes nothing: what a run that was cut off has made already is passed over."""
    there = sa.inspect(op.get_bind())
    for table, columns in new_columns().items():
        known = {column["name"] for column in there.get_columns(table)}
        for column in columns:
            if column.name not in known:
                op.add_column(table, column)
    if not there.has_table("client_secret_use"):
        op.create_table(
            "client_secret_use",
            sa.Column("client_id", sa.String(255), nullable=False),
            sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
            sa.Column("last_used_at", sa.BigInteger(), nullable=False),
            sa.ForeignKeyConstraint(
                ["client_id"], ["client.client_id"], name="fk_client_secret_use_client_id_client", ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("client_id", "number", name="pk_client_secret_use"),
        )
    scope = scopes()
    if op.get_bind().scalar(sa.select(scope.c.name).where(scope.c.name == GROUPS["name"])) is None:
        op.execute(scope.insert().values(GROUPS))


def downgrade() -> None:
    """A scope of this name with other words is the operator's own."""
    scope = scopes()
    is_ours = (scope.c.name == GROUPS["name"]) & (scope.c.description == GROUPS["description"])
    op.execute(scope.delete().where(is_ours))
    op.drop_table("client_secret_use")
    for table, columns in new_columns().items():
        for column in columns:
            op.drop_column(table, column.name)


def scopes() -> sa.TableClause:
    return sa.table("scope", sa.column("name", sa.String), sa.column("description", sa.String))
