"""Of nodes that migrate at the same moment one does it, and the others wait and find nothing to do: no
command fails.
"""

import subprocess
import sys
import time

import pytest
from sqlalchemy import inspect

from app import create_app
from models import db
from tests.live import LiveServer
from unit_of_work import migration

pytestmark = pytest.mark.long_on("postgresql", "mariadb")

SECONDS = 60


def start(server, *command):
    return subprocess.Popen(
        [sys.executable, "-m", "flask", *command],
        cwd=server.source,
        env=server.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process):
    """What it said on stderr."""
    try:
        stdout, stderr = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    assert (process.returncode, stdout) == (0, ""), stderr
    return stderr


@pytest.fixture
def server(database_url, tmp_path):
    """Not migrated, and not started."""
    return LiveServer(database_url, tmp_path)


def test_two_migrate_an_empty_database_at_once(server):
    said = list(map(end, [start(server, "db", "upgrade") for _ in range(2)]))
    assert sum("Migrated from an empty database to " in words for words in said) == 1
    assert sum("Nothing to migrate: it is at " in words for words in said) == 1
    assert all(words.count(f"Issuer {server.issuer}, database ") == 1 for words in said)
    assert server.rows("SELECT count(*) FROM alembic_version") == [(1,)]


def test_who_comes_second_waits_and_says_so(server):
    """From the middle to the newest, while somebody else has the turn for longer than a request may take."""
    server.flask("db", "upgrade", "0002")
    app = create_app(server.settings())
    with app.app_context():
        with migration() as connection:
            second = start(server, "db", "upgrade")
            assert second.stderr.readline() == "Somebody else migrates: waiting.\n"
            time.sleep(1)
            assert second.poll() is None
            assert connection.dialect.name in server.database_url
        assert "Migrated from 0002 to " in end(second)
        assert "client" in inspect(db.engine).get_table_names()
        db.engine.dispose()


def test_who_dies_in_its_turn_leaves_it_to_the_next(server):
    hold = "from app import create_app; from unit_of_work import migration; import time\n"
    hold += "with create_app().app_context(), migration(): print('mine', flush=True); time.sleep(60)"
    first = subprocess.Popen(
        [sys.executable, "-c", hold],
        cwd=server.source,
        env=server.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert first.stdout.readline() == "mine\n"
        second = start(server, "db", "upgrade")
        assert second.stderr.readline() == "Somebody else migrates: waiting.\n"
    finally:
        first.kill()
        first.communicate()
    assert "Migrated from an empty database to " in end(second)
