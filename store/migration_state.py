"""Whether the database has the tables of this version."""

from functools import cache
from pathlib import Path

from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from models import db

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


@cache
def revisions() -> tuple[str, ...]:
    """Return the revisions of this version, the newest first."""
    return tuple(script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions())


def is_migrated() -> bool:
    """Return whether the newest migration has been applied.

    One that this version does not know counts too: in a rolling upgrade another node is newer.
    """
    if not inspect(db.session.connection()).has_table("alembic_version"):
        return False
    applied = db.session.scalar(text("SELECT version_num FROM alembic_version"))
    return applied is not None and applied not in revisions()[1:]
