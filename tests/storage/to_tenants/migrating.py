"""Looks at a database that is migrated to tenants and back: its rows, its tables, its revision."""

from sqlalchemy import inspect

from app import create_app
from config import Settings
from models import db
from tests.builders import ISSUER, SECRET_KEY
from tests.statements import select, text

BEFORE, TENANTS = "0008", "0009"


def new_app(url):
    return create_app(Settings(issuer=ISSUER, database_url=url, secret_key=SECRET_KEY))


def all_rows():
    """The rows of each table, by column, but for whose they are."""
    found = {}
    for table in inspect(db.session.connection()).get_table_names():
        if table not in ("tenant", "alembic_version"):
            rows = db.session.execute(select(text("*")).select_from(text(table))).mappings()
            found[table] = sorted(
                (sorted((key, repr(value)) for key, value in row.items() if key != "tenant_id"))
                for row in rows
            )
    db.session.remove()
    return found


def schema():
    """All that the comparison of Alembic sees, and all that it does not: primary keys, what becomes of
    children, partial indexes, checks, AUTOINCREMENT.
    """
    there = inspect(db.session.connection())
    made = {}
    for table in there.get_table_names():
        if table == "alembic_version":
            continue
        columns = {
            column["name"]: (str(column["type"]), column["nullable"], column["default"])
            for column in there.get_columns(table)
        }
        keys = [there.get_pk_constraint(table)["constrained_columns"]]
        keys += sorted(key["column_names"] for key in there.get_unique_constraints(table))
        references = sorted(
            (
                reference["name"] or "",
                reference["constrained_columns"],
                reference["referred_table"],
                reference["referred_columns"],
                str(reference["options"]),
            )
            for reference in there.get_foreign_keys(table)
        )
        indexes = sorted(
            (index["name"], index["column_names"], index["unique"], where_of(index))
            for index in there.get_indexes(table)
        )
        checks = sorted(check["sqltext"] for check in there.get_check_constraints(table))
        made[table] = [columns, keys, references, indexes, checks, is_counted(table)]
    db.session.remove()
    return made


def where_of(index):
    options = index.get("dialect_options", {})
    return str(options.get("sqlite_where", options.get("postgresql_where"))).strip("()")


def is_counted(table):
    if db.engine.dialect.name != "sqlite":
        return None
    made = text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :name")
    return "AUTOINCREMENT" in db.session.scalar(made, {"name": table})


def values_of(columns, table):
    """The rows of one column or expression."""
    return db.session.scalars(text(f"SELECT {columns} FROM {table}")).all()  # noqa: S608 - our own names


def revision():
    found = db.session.scalar(text("SELECT version_num FROM alembic_version"))
    db.session.remove()
    return found
