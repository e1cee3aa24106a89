"""Whether the database has the tables of this version."""

from functools import cache
from pathlib import Path

from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from models import db

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


@cache
def newest_revision() -> str | None:
    return ScriptDirectory(str(MIGRATIONS)).get_current_head()


def is_migrated() -> bool:
    """Whether the newest migration has been applied."""
    if not inspect(db.session.connection()).has_table("alembic_version"):
        return False
    return db.session.scalar(text("SELECT version_num FROM alembic_version")) == newest_revision()
