"""`make prove`: every promise on every engine, many times, in one table. Exit code 1 where one is broken.

The database servers are its own, on loopback, and wait for the disk. Progress goes to stderr, the table to
stdout.
"""

import itertools
import os
import platform
import secrets
import sys
import time
from contextlib import contextmanager

from sqlalchemy import create_engine, make_url

import database
from commands.formatting import counted, table
from database.checks import dotted
from tests.crashes.server_kills import DATABASES
from tests.live import ENGINES, MariaDB
from tests.places import NoPlaceError, an_open_folder, check_place
from tests.proofs.promises import PROOFS, Place, Size

FULL = Size()
COLUMNS = ("promise", "came_out", "bound", "outcome")
MUTATIONS = """.venv/bin/python -m pytest -m "long or not long" -k "notice or without" \\
  tests/flows/test_mutations.py tests/crashes tests/nodes/test_galera.py"""


@contextmanager
def place_for(engine):
    """A database server that keeps its durable settings, with as many databases as are wanted."""
    with an_open_folder() as folder, DATABASES[engine](folder, is_durable=True) as (url, server):

        def new_database():
            name = f"proof_{secrets.token_hex(4)}"
            if server is None:
                return f"sqlite:///{folder / name}.sqlite3"
            server.execute(f"CREATE DATABASE {name}")
            return make_url(url).set(database=name).render_as_string(hide_password=False)

        yield Place(engine, new_database, folder)


def missing(engine):
    """Why this engine is not tried, or None."""
    if engine == "mariadb" and not MariaDB.can_be_killed():
        return "MariaDB is not installed here, or TEST_MARIADB_URL names one that is not ours to kill"
    return None


def prove(engine, size, progress):
    """The engine with its version, and its lines of the table."""

    def tell(words):
        progress(f"{engine}: {words}")

    with place_for(engine) as place:
        version = version_of(place.new_database())
        return version, [line for proof in PROOFS for line in proof(place, size, tell)]


def version_of(url):
    engine = create_engine(url, **database.engine_options(url))
    database.prepare(engine)
    try:
        with engine.connect() as connection:
            facts = database.DIALECTS[connection.dialect.name].read_server_info(connection)
    finally:
        engine.dispose()
    return f"{facts.name} {dotted(facts.version)}"


def machine():
    load = os.getloadavg()[0]
    return (
        f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()},"
        f" load {load:.1f}"
    )


def progress_on_stderr():
    started = time.monotonic()

    def tell(words):
        minutes, seconds = divmod(int(time.monotonic() - started), 60)
        print(f"{minutes:2}:{seconds:02}  {words}", file=sys.stderr, flush=True)

    return tell


def main(engines=ENGINES, size=FULL):
    """The exit code."""
    started = time.monotonic()
    progress = progress_on_stderr()
    machine_at_start = machine()
    reasons = {engine: reason for engine in engines if (reason := missing(engine))}
    try:
        check_place([engine for engine in engines if engine not in reasons])
    except NoPlaceError as error:
        print(error, file=sys.stderr)
        return 1
    sections = [prove(engine, size, progress) for engine in engines if engine not in reasons]
    show(sections, reasons)
    minutes = (time.monotonic() - started) / 60
    print(f"On {machine_at_start} at the start, in {minutes:.1f} minutes.")
    print(f"That it would be noticed: {MUTATIONS}")
    broken = [line for _version, lines in sections for line in lines if not line.is_kept]
    print(f"BROKEN: {counted(len(broken), 'promise')}." if broken else "Every promise was kept.")
    return int(bool(broken) or bool(reasons and "CI" in os.environ))


def show(sections, reasons):
    """One table, each engine under its name."""
    headings, *lines = table(
        [line.row() for _version, lines in sections for line in lines], COLUMNS
    ).splitlines()
    rest = iter(lines)
    print(headings)
    for version, of_engine in sections:
        print(f"\n{version}", *itertools.islice(rest, len(of_engine)), sep="\n")
    for engine, reason in reasons.items():
        print(f"\n{engine}\nSKIPPED: {reason}")
    print()


if __name__ == "__main__":
    sys.exit(main())
