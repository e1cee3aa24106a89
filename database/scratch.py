"""Scratch databases beside the operator's: a schema on PostgreSQL, a database on MariaDB, a file on SQLite.

Enters: a URL of or a connection to the operator's database, and a name. A scratch database is created empty,
and dropped with everything in it.
"""

from contextlib import suppress
from pathlib import Path

from sqlalchemy import URL, Connection, inspect, make_url, text
from sqlalchemy.schema import CreateSchema, DropSchema

SQLITE_FILES = ("", "-wal", "-shm", ".lock")


def scratch_url(url: str, name: str) -> str:
    """Return the URL of a scratch database; the rest is as in `url`."""
    parsed = make_url(url)
    match parsed.get_backend_name():
        case "sqlite":
            inside = parsed.set(database=str(file_of(parsed, name)))
        case "postgresql":
            options = f"{parsed.query.get('options', '')} -c search_path={name}".strip()
            inside = parsed.update_query_dict({"options": options})
        case _:
            inside = parsed.set(database=name)
    return inside.render_as_string(hide_password=False)


def create_scratch(connection: Connection, name: str) -> None:
    """Create a scratch database; on SQLite the first connection creates the file."""
    if connection.dialect.name != "sqlite":
        connection.execute(CreateSchema(name))


def is_in_scratch(connection: Connection, name: str) -> bool:
    """Return whether a connection is in the scratch database: a pool may drop the option that selects it."""
    return (
        connection.dialect.name != "postgresql" or connection.scalar(text("SELECT current_schema()")) == name
    )


def drop_scratch(connection: Connection, name: str) -> None:
    """Drop a scratch database and everything in it."""
    if connection.dialect.name == "sqlite":
        for suffix in SQLITE_FILES:
            with suppress(FileNotFoundError):
                Path(f"{file_of(connection.engine.url, name)}{suffix}").unlink()
    else:
        # MariaDB always drops the tables too, and has no word CASCADE here
        is_postgresql = connection.dialect.name == "postgresql"
        connection.execute(DropSchema(name, cascade=is_postgresql))


def find_scratches(connection: Connection, prefix: str) -> list[str]:
    """Return the names of the scratch databases that begin with a prefix."""
    if connection.dialect.name == "sqlite":
        file = file_of(connection.engine.url, prefix)
        return sorted(path.stem for path in file.parent.glob(f"{prefix}*.sqlite3"))
    return [name for name in inspect(connection).get_schema_names() if name.startswith(prefix)]


def file_of(url: URL, name: str) -> Path:
    """Return the file of a scratch database on SQLite."""
    return Path(url.database or "").with_name(f"{name}.sqlite3")
